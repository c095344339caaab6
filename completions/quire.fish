# SPDX-License-Identifier: Apache-2.0
# fish completion for quire(1).

complete -c quire -f
complete -c quire -n __fish_use_subcommand -a run -d 'Run a program within a bound of RAM'
complete -c quire -n __fish_use_subcommand -a slabs -d 'Show the size classes of a heap'
complete -c quire -n __fish_use_subcommand -a doctor -d 'Tell what this machine allows'
complete -c quire -n __fish_use_subcommand -a help -d 'Show the help of a command'
complete -c quire -n __fish_use_subcommand -s h -l help -d 'Show the list of commands'
complete -c quire -n __fish_use_subcommand -s V -l version -d 'Show the version'

set -l run '__fish_seen_subcommand_from run'
complete -c quire -n $run -l ram -x -a '25% 50% 75% 256M 512M 1G 2G 4G' -d 'Hold at most this much RAM'
complete -c quire -n $run -l swap -x -a 'none (__fish_complete_directories)' -d 'Where the swap file goes'
complete -c quire -n $run -l swap-max -x -a '1G 4G 16G 64G' -d 'Let the swap file grow to this size'
complete -c quire -n $run -l codec -x -a 'auto lz4 zstd none' -d 'How evicted pages are compressed'
complete -c quire -n $run -l stats -r -F -d 'Write the figures as JSON'
complete -c quire -n $run -l no-paging -d 'The heap alone, no budget'
complete -c quire -n $run -l harden -d 'Guards behind objects, freed ones held back'
complete -c quire -n $run -s q -l quiet -d 'Print no summary'
complete -c quire -n $run -s h -l help -d 'Show the options'
complete -c quire -n $run -l usage -d 'Show the options on two lines'
complete -c quire -n $run -a '(__fish_complete_subcommand --fcs-skip=2)'

set -l slabs '__fish_seen_subcommand_from slabs'
complete -c quire -n $slabs -l pid -x -a '(__fish_complete_pids)' -d 'The process to look into'
complete -c quire -n $slabs -s s -l sort -x -a 'size active objects cached spans bytes fill waste' -d 'Order by'
complete -c quire -n $slabs -s a -l all -d 'Classes without spans, too'
complete -c quire -n $slabs -s j -l json -d 'Print the figures as JSON'
complete -c quire -n $slabs -s h -l help -d 'Show the options'
complete -c quire -n $slabs -l usage -d 'Show the options on one line'

set -l doctor '__fish_seen_subcommand_from doctor'
complete -c quire -n $doctor -s j -l json -d 'Print the checks as JSON'
complete -c quire -n $doctor -s h -l help -d 'Show the options'
complete -c quire -n $doctor -l usage -d 'Show the options on one line'
complete -c quire -n '__fish_seen_subcommand_from help' -a 'run slabs doctor'

# SPDX-License-Identifier: Apache-2.0
# fish completion for quire(1).

complete -c quire -f
complete -c quire -n __fish_use_subcommand -a run -d 'Run a program within a bound of RAM'
complete -c quire -n __fish_use_subcommand -a doctor -d 'Tell what this machine allows'
complete -c quire -n __fish_use_subcommand -a partition -d 'Replay a trace against placement policies'
complete -c quire -n __fish_use_subcommand -a help -d 'Show the help of a command'
complete -c quire -n __fish_use_subcommand -s h -l help -d 'Show the list of commands'
complete -c quire -n __fish_use_subcommand -s V -l version -d 'Show the version'

set -l run '__fish_seen_subcommand_from run'
complete -c quire -n $run -l ram -x -a '25% 50% 75% 256M 512M 1G 2G 4G' -d 'Hold at most this much RAM'
complete -c quire -n $run -l swap -x -a 'none (__fish_complete_directories)' -d 'Where the swap file goes'
complete -c quire -n $run -l swap-max -x -a '1G 4G 16G 64G' -d 'Let the swap file grow to this size'
complete -c quire -n $run -l codec -x -a 'auto lz4 zstd none' -d 'How evicted pages are compressed'
complete -c quire -n $run -l stats -r -F -d 'Write the figures as JSON'
complete -c quire -n $run -s q -l quiet -d 'Print no summary'
complete -c quire -n $run -s h -l help -d 'Show the options'
complete -c quire -n $run -l usage -d 'Show the options on two lines'
complete -c quire -n $run -a '(__fish_complete_subcommand --fcs-skip=2)'

set -l doctor '__fish_seen_subcommand_from doctor'
complete -c quire -n $doctor -s j -l json -d 'Print the checks as JSON'
complete -c quire -n $doctor -s h -l help -d 'Show the options'
complete -c quire -n $doctor -l usage -d 'Show the options on one line'

set -l partition '__fish_seen_subcommand_from partition'
complete -c quire -n $partition -s t -l trace -r -F -d 'The trace; - is standard input'
complete -c quire -n $partition -s p -l policy -x -a 'tlsf first next best worst' -d 'Policies, separated by commas'
complete -c quire -n $partition -s s -l space -x -a '1M 64M 1G' -d 'How large the space is'
complete -c quire -n $partition -s g -l granule -x -a '64 4K 64K' -d 'Round sizes up to multiples of this'
complete -c quire -n $partition -s c -l compact -x -a '64K 1M 64M' -d 'Move at most this much for a request'
complete -c quire -n $partition -s w -l wait -d 'Let requests without a duration wait'
complete -c quire -n $partition -s j -l json -d 'Print the figures as JSON'
complete -c quire -n $partition -s m -l svg -r -F -d 'Draw the memory map over time'
complete -c quire -n $partition -s h -l help -d 'Show the options'
complete -c quire -n $partition -l usage -d 'Show the options on a few lines'
complete -c quire -n '__fish_seen_subcommand_from help' -a 'run doctor partition'

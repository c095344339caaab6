# SPDX-License-Identifier: Apache-2.0
# bash completion for quire(1). Behind COMMAND the command's own completion goes on, where
# bash-completion is there to find it.

# Completes COMMAND and its arguments: what stands behind --, or, unless $2 is "behind", at and behind
# the first word that is neither an option nor the value of one of those in $1. Fails before it.
_quire_command()
{
    local i
    for ((i = 2; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --) ((i++)) && break ;;
        -*)
            if [[ ${COMP_WORDS[i + 1]} == "=" ]]; then
                ((i += 2)) # "--ram=1G" is three words to bash
            elif [[ " $1 " == *" ${COMP_WORDS[i]} "* ]]; then
                ((i++))
            fi
            ;;
        *)
            [[ $2 == behind ]] && return 1
            break
            ;;
        esac
    done
    ((i < COMP_CWORD)) || [[ ${COMP_WORDS[i - 1]} == "--" ]] || return 1
    if declare -F _command_offset >/dev/null; then
        _command_offset "$i"
    else
        mapfile -t COMPREPLY < <(compgen -c -f -- "$cur")
    fi
}

_quire_run()
{
    _quire_command "--ram --max-stall --swap --swap-max --codec --policy --prefetch --stats" && return
    local option=$prev
    [[ $prev == "=" ]] && option=${COMP_WORDS[COMP_CWORD - 2]}
    [[ $cur == "=" ]] && option=$prev cur=
    case $option in
    --ram) mapfile -t COMPREPLY < <(compgen -W "auto 25% 50% 75% 256M 512M 1G 2G 4G" -- "$cur") ;;
    --max-stall) mapfile -t COMPREPLY < <(compgen -W "1% 2% 5%" -- "$cur") ;;
    --swap-max) mapfile -t COMPREPLY < <(compgen -W "1G 4G 16G 64G" -- "$cur") ;;
    --swap) mapfile -t COMPREPLY < <(compgen -W none -- "$cur"; compgen -d -- "$cur") ;;
    --codec) mapfile -t COMPREPLY < <(compgen -W "auto lz4 zstd none" -- "$cur") ;;
    --policy) mapfile -t COMPREPLY < <(compgen -W "adaptive fifo clock gclock 2q s3-fifo sieve working-set" -- "$cur") ;;
    --prefetch) mapfile -t COMPREPLY < <(compgen -W "adaptive none cluster stride" -- "$cur") ;;
    --stats) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    *)
        if [[ $cur == -* ]]; then
            mapfile -t COMPREPLY < <(compgen -W "--ram --max-stall --swap --swap-max --codec --policy --prefetch
                --stats --no-publish --no-paging --harden --quiet --help --usage --" -- "$cur")
        else
            mapfile -t COMPREPLY < <(compgen -c -- "$cur")
        fi
        ;;
    esac
}

_quire_slabs()
{
    case $prev in
    --pid) mapfile -t COMPREPLY < <(compgen -W "$(ps -e -o pid= 2>/dev/null)" -- "$cur") ;;
    --replay) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    --sort | -s)
        mapfile -t COMPREPLY < <(compgen -W "size active objects cached spans bytes fill waste" \
            -- "$cur")
        ;;
    *)
        mapfile -t COMPREPLY < <(compgen -W "--pid --kernel --root --replay --at --sort --all --watch --count --json --help --usage" -- "$cur")
        ;;
    esac
}

_quire_report()
{
    case $prev in
    --output | -o) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    --pid) mapfile -t COMPREPLY < <(compgen -W "$(ps -e -o pid= 2>/dev/null)" -- "$cur") ;;
    *)
        if [[ $cur == -* ]]; then
            mapfile -t COMPREPLY < <(compgen -W "--pid --output --help --usage" -- "$cur")
        else
            mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        fi
        ;;
    esac
}

_quire_partition()
{
    local option=$prev
    [[ $prev == "=" ]] && option=${COMP_WORDS[COMP_CWORD - 2]}
    [[ $cur == "=" ]] && option=$prev cur=
    case $option in
    --trace | --svg | -t | -m) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    --policy | -p) mapfile -t COMPREPLY < <(compgen -W "tlsf first next best worst
        tlsf,first,next,best,worst" -- "$cur") ;;
    --space | --granule | --compact | -s | -g | -c) mapfile -t COMPREPLY < <(compgen -W "4K 64K 1M
        64M 1G" -- "$cur") ;;
    *) mapfile -t COMPREPLY < <(compgen -W "--trace --policy --space --granule --compact --wait
        --json --svg --help --usage" -- "$cur") ;;
    esac
}

_quire_reference_trace()
{
    case $option in
    --trace | --svg | -t | -m) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    --format) mapfile -t COMPREPLY < <(compgen -W "quire lackey plain perf csv oracle" -- "$cur") ;;
    --unit) mapfile -t COMPREPLY < <(compgen -W "byte page" -- "$cur") ;;
    --columns) mapfile -t COMPREPLY < <(compgen -W "time=1,id=2,size=3" -- "$cur") ;;
    --delimiter) mapfile -t COMPREPLY < <(compgen -W "tab" -- "$cur") ;;
    --page-size | -P) mapfile -t COMPREPLY < <(compgen -W "4K 16K 64K 2M 1G" -- "$cur") ;;
    *) return 1 ;;
    esac
}

_quire_sim()
{
    local option=$prev
    [[ $prev == "=" ]] && option=${COMP_WORDS[COMP_CWORD - 2]}
    [[ $cur == "=" ]] && option=$prev cur=
    _quire_reference_trace && return
    case $option in
    --ram | -r) mapfile -t COMPREPLY < <(compgen -W "64M-4G 256M,512M,1G 3p-8p" -- "$cur") ;;
    --policy | -p) mapfile -t COMPREPLY < <(compgen -W "all $(quire sim --list 2>/dev/null |
        cut -d ' ' -f 1)" -- "$cur") ;;
    --prefetch) mapfile -t COMPREPLY < <(compgen -W "none cluster stride adaptive" -- "$cur") ;;
    *) mapfile -t COMPREPLY < <(compgen -W "--trace --format --unit --columns --delimiter --ram
        --policy --list --page-size --prefetch --by-process --no-fetch --json --svg --help
        --usage" -- "$cur") ;;
    esac
}

_quire_mrc()
{
    local option=$prev
    [[ $prev == "=" ]] && option=${COMP_WORDS[COMP_CWORD - 2]}
    [[ $cur == "=" ]] && option=$prev cur=
    _quire_reference_trace && return
    case $option in
    --sample | -s) mapfile -t COMPREPLY < <(compgen -W "10% 1% 0.1%" -- "$cur") ;;
    --ram | -r) mapfile -t COMPREPLY < <(compgen -W "256M 256M,512M,1G" -- "$cur") ;;
    *) mapfile -t COMPREPLY < <(compgen -W "--trace --format --unit --columns --delimiter
        --page-size --sample --ram --no-fetch --json --svg --help --usage" -- "$cur") ;;
    esac
}

_quire_translate()
{
    case $prev in
    --image | --svg | --output | -i | -o) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    --format) mapfile -t COMPREPLY < <(compgen -W "auto raw elf lime kdump" -- "$cur") ;;
    --arch) mapfile -t COMPREPLY < <(compgen -W "x86 riscv arm64 ppc" -- "$cur") ;;
    --mode) mapfile -t COMPREPLY < <(compgen -W "x86-32 x86-pae x86-48 x86-57 sv32 sv39 sv48 sv57
        arm64 arm64-39 arm64-16k arm64-16k-47 arm64-64k arm64-64k-42 inverted base-limit bare" -- "$cur") ;;
    --access) mapfile -t COMPREPLY < <(compgen -W "r w x" -- "$cur") ;;
    --extensions) mapfile -t COMPREPLY < <(compgen -W "svnapot svpbmt svadu none" -- "$cur") ;;
    --tlb) mapfile -t COMPREPLY < <(compgen -W typical -- "$cur") ;;
    *) mapfile -t COMPREPLY < <(compgen -W "--image --format --arch --cr0 --cr3 --cr4 --efer --pat
        --pkru --satp --sstatus --extensions --tcr --ttbr0 --ttbr1 --mair --sdr1 --segments --mode
        --root --base --limit --process --phys-bits --map --range --svg --reverse --read --output
        --find-roots --access --user --explain --tlb --json --help --usage" -- "$cur") ;;
    esac
}

_quire_segment()
{
    case $prev in
    --image | -i) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    --cpl) mapfile -t COMPREPLY < <(compgen -W "0 1 2 3" -- "$cur") ;;
    *) mapfile -t COMPREPLY < <(compgen -W "--image --gdt --ldt --cpl --stack --fs --call --long-mode --64
        --cr0 --cr3 --cr4 --efer --descriptor --json --help --usage" -- "$cur") ;;
    esac
}

_quire_layout()
{
    local option=$prev
    [[ $prev == "=" ]] && option=${COMP_WORDS[COMP_CWORD - 2]}
    [[ $cur == "=" ]] && option=$prev cur=
    case $option in
    --from | --to) mapfile -t COMPREPLY < <(compgen -W "nchw nhwc nchw4c nchw8c nchw16c oihw hwio ohwi
        oihw16i16o" -- "$cur") ;;
    --type) mapfile -t COMPREPLY < <(compgen -W "f32 f16 bf16 i8" -- "$cur") ;;
    --isa) mapfile -t COMPREPLY < <(compgen -W "portable sse2 neon avx2 avx512" -- "$cur") ;;
    --network) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    --shape) ;;
    *) mapfile -t COMPREPLY < <(compgen -W "--shape --from --to --type --bench --isa --network --json --help
        --usage" -- "$cur") ;;
    esac
}

_quire_plan()
{
    local option=$prev
    [[ $prev == "=" ]] && option=${COMP_WORDS[COMP_CWORD - 2]}
    [[ $cur == "=" ]] && option=$prev cur=
    case $option in
    --strategy | -s) mapfile -t COMPREPLY < <(compgen -W "auto greedy search" -- "$cur") ;;
    --capacity | --align | -c | -a) mapfile -t COMPREPLY < <(compgen -W "16 64 4K 64K 1M 64M 1G" -- "$cur") ;;
    --time-limit | --threads | -t | -T) mapfile -t COMPREPLY < <(compgen -W "1 2 4 8" -- "$cur") ;;
    --space | --steps | --seed | --shape | --subgraph | --speed) ;;
    --weights) mapfile -t COMPREPLY < <(compgen -W "all f16 i8 u8 i4 i4:64 sparse sparse:0.7 1M 16M" -- "$cur") ;;
    --recompute | --offload | --bandwidth) mapfile -t COMPREPLY < <(compgen -W "1M 16M 256M 1G" -- "$cur") ;;
    *)
        if [[ $cur == -* ]]; then
            mapfile -t COMPREPLY < <(compgen -W "--capacity --time-limit --align --threads --strategy --steps
                --seed --space --verify --output --svg --json --shape --subgraph --inplace --reorder
                --recompute --offload --bandwidth --speed --costs --curve --weights --profile --help
                --usage" -- "$cur")
        else
            mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        fi
        ;;
    esac
}

# --root takes a directory with each of these; $1: the command's own options
_quire_figures()
{
    local option=$prev
    [[ $prev == "=" ]] && option=${COMP_WORDS[COMP_CWORD - 2]}
    [[ $cur == "=" ]] && option=$prev cur=
    case $option in
    --root) mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
    --before) mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
    --svg | --replay | --textfile) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    --listen) mapfile -t COMPREPLY < <(compgen -W "127.0.0.1:9435 [::1]:9435" -- "$cur") ;;
    --format) mapfile -t COMPREPLY < <(compgen -W "openmetrics prometheus json" -- "$cur") ;;
    --columns | --sort | --filter | -o | -s | -f)
        mapfile -t COMPREPLY < <(compgen -W "$(quire ps --list 2>/dev/null | cut -d ' ' -f 1)" \
            -- "$cur")
        ;;
    *)
        mapfile -t COMPREPLY < <(compgen -W "$1 --json --bytes --root --help --usage" -- "$cur")
        ;;
    esac
}

_quire_maps()
{
    if [[ $cur != -* && $prev != "=" && $prev != --root && $prev != --svg ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(ps -e -o pid= 2>/dev/null)" -- "$cur")
    else
        _quire_figures "--all --svg"
    fi
}

_quire_export()
{
    if [[ $cur == -* && $prev != "=" ]]; then
        mapfile -t COMPREPLY < <(compgen -W "--listen --textfile --interval --processes --filter --pss
            --format --root --help --usage" -- "$cur")
    else
        _quire_figures ""
    fi
}

_quire_log()
{
    local option=$prev
    [[ $prev == "=" ]] && option=${COMP_WORDS[COMP_CWORD - 2]}
    [[ $cur == "=" ]] && option=$prev cur=
    case $option in
    -o | --output | --info) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    --max-size) mapfile -t COMPREPLY < <(compgen -W "16M 64M 256M 1G" -- "$cur") ;;
    --root) mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
    *)
        mapfile -t COMPREPLY < <(compgen -W "--output --interval --max-size --count --pss --info --json
            --root --help --usage" -- "$cur")
        ;;
    esac
}

# Of any process, then, for limit, a size.
_quire_running()
{
    if [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$1 --json --help --usage" -- "$cur")
    elif [[ ${COMP_WORDS[1]} == limit && $prev =~ ^[0-9]+$ ]]; then
        mapfile -t COMPREPLY < <(compgen -W "25% 50% 75% 256M 512M 1G 2G 4G" -- "$cur")
    else
        mapfile -t COMPREPLY < <(compgen -W "$(ps -e -o pid= 2>/dev/null)" -- "$cur")
    fi
}

_quire_ring()
{
    if ((COMP_CWORD == 2)); then
        mapfile -t COMPREPLY < <(compgen -W "create put get stat ls rm bench --help" -- "$cur")
    elif [[ $prev == --full || $prev == -F ]]; then
        mapfile -t COMPREPLY < <(compgen -W "wait fail overwrite" -- "$cur")
    elif [[ $cur != -* && ${COMP_WORDS[2]} != create ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(quire ring ls 2>/dev/null | tail -n +2 | cut -d ' ' -f 1)" \
            -- "$cur")
    elif [[ ${COMP_WORDS[2]} == create ]]; then
        mapfile -t COMPREPLY < <(compgen -W "--size --frame --full --many --mode --keep --help --usage" \
            -- "$cur")
    else
        mapfile -t COMPREPLY < <(compgen -W "--json --watch --help --usage" -- "$cur")
    fi
}

_quire_top()
{
    case $prev in
    --replay) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    --columns) mapfile -t COMPREPLY < <(compgen -W "memory shares runs faults" -- "$cur") ;;
    --run) mapfile -t COMPREPLY < <(compgen -W "$(ps -e -o pid= 2>/dev/null)" -- "$cur") ;;
    --root) mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
    *)
        mapfile -t COMPREPLY < <(compgen -W "--delay --count --columns --sort --reverse --filter
            --tree --all --run --replay --root --help --usage" -- "$cur")
        ;;
    esac
}

_quire_tlb()
{
    local option=$prev
    [[ $prev == "=" ]] && option=${COMP_WORDS[COMP_CWORD - 2]}
    [[ $cur == "=" ]] && option=$prev cur=
    case $option in
    --ask | -a) mapfile -t COMPREPLY < <(compgen -W "levels size split bits inverted hashed page-size reach eat hit fault-rate" -- "$cur") ;;
    --trace | -t) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    --cpu | -c) mapfile -t COMPREPLY < <(compgen -W "textbook i386 pentiumpro nehalem sandybridge haswell skylake icelake goldencove zen2 zen3 zen4 zen5 cortex-a53 cortex-a72 cortex-a76 neoverse-v2 sifive-u54" -- "$cur") ;;
    --page | -p) mapfile -t COMPREPLY < <(compgen -W "4K 64K 2M 1G" -- "$cur") ;;
    --tables) mapfile -t COMPREPLY < <(compgen -W "x86-32 x86-pae x86-48 x86-57 sv32 sv39 sv48 sv57 arm64 arm64-16k arm64-64k ppc32 inverted" -- "$cur") ;;
    --format) mapfile -t COMPREPLY < <(compgen -W "quire lackey plain perf csv oracle" -- "$cur") ;;
    --unit) mapfile -t COMPREPLY < <(compgen -W "byte page" -- "$cur") ;;
    *)
        if [[ $cur == -* ]]; then
            mapfile -t COMPREPLY < <(compgen -W "--ask --json --list-cpus --trace --arrays --cpu
                --no-tags --page --switch --tables --unit --format --columns --delimiter --cache --cache-hit --dirty --eat
                --fault --fault-rate --hit --hit2 --mem --slowdown --tlb --tlb2 --walk
                --walk-saved --write-back --address --buckets --entries --frames --levels --pages
                --processes --pte --ram --split --used --va-bits --help --usage" -- "$cur")
        else
            mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        fi
        ;;
    esac
}

_quire_record()
{
    _quire_command "--every --output -o --period --window" && return
    local option=$prev
    [[ $prev == "=" ]] && option=${COMP_WORDS[COMP_CWORD - 2]}
    [[ $cur == "=" ]] && option=$prev cur=
    case $option in
    --every) mapfile -t COMPREPLY < <(compgen -W "access page sample" -- "$cur") ;;
    --output | -o) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    --window) mapfile -t COMPREPLY < <(compgen -W "1M 2M 8M 16M" -- "$cur") ;;
    *)
        if [[ $cur == -* ]]; then
            mapfile -t COMPREPLY < <(compgen -W "--every --output --period --quiet --window --help
                --usage --" -- "$cur")
        else
            mapfile -t COMPREPLY < <(compgen -c -f -- "$cur")
        fi
        ;;
    esac
}

_quire_advise()
{
    _quire_command "--compression --output -o --ram --swap --slowdown -s --time --window" behind && return
    local option=$prev
    [[ $prev == "=" ]] && option=${COMP_WORDS[COMP_CWORD - 2]}
    [[ $cur == "=" ]] && option=$prev cur=
    case $option in
    --output | -o) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    --ram) mapfile -t COMPREPLY < <(compgen -W "64M 256M 1G" -- "$cur") ;;
    --swap) mapfile -t COMPREPLY < <(compgen -W "none" -- "$cur") ;;
    --slowdown | -s) mapfile -t COMPREPLY < <(compgen -W "10% 25% 50%" -- "$cur") ;;
    --window) mapfile -t COMPREPLY < <(compgen -W "1M 2M 8M 16M" -- "$cur") ;;
    *)
        if [[ $cur == -* ]]; then
            mapfile -t COMPREPLY < <(compgen -W "--compression --json --output --ram --swap
                --slowdown --time --window --help --usage --" -- "$cur")
        else
            mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        fi
        ;;
    esac
}

_quire()
{
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W "run limit park resume dump report slabs doctor partition sim mrc plan layout translate segment free vmstat top ps maps time zones
            tune export log ring tlb record advise help --help --version" -- "$cur")
        return
    fi
    case ${COMP_WORDS[1]} in
    run) _quire_run ;;
    limit) _quire_running "" ;;
    park) _quire_running --stop ;;
    resume) _quire_running --on-demand ;;
    dump)
        if [[ $prev == -o || $prev == --output ]]; then
            mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        else
            _quire_running "-o --output"
        fi
        ;;
    report) _quire_report ;;
    slabs) _quire_slabs ;;
    doctor) mapfile -t COMPREPLY < <(compgen -W "--json --help --usage" -- "$cur") ;;
    partition) _quire_partition ;;
    sim) _quire_sim ;;
    mrc) _quire_mrc ;;
    translate) _quire_translate ;;
    segment) _quire_segment ;;
    plan) _quire_plan ;;
    layout) _quire_layout ;;
    free) _quire_figures "--explain --watch --count --replay --at" ;;
    vmstat) _quire_figures "--time --replay --from --to --reverse" ;;
    ps) _quire_figures "--columns --sort --reverse --filter --tree --all --limit --runs --watch
        --count --full --list --replay --at" ;;
    maps) _quire_maps ;;
    time)
        if _quire_command "--output -o --json -j"; then
            return
        elif [[ $cur == -* ]]; then
            mapfile -t COMPREPLY < <(compgen -W "--output --append --json --verbose --help --usage --" -- "$cur")
        else
            mapfile -t COMPREPLY < <(compgen -c -f -- "$cur")
        fi
        ;;
    tlb) _quire_tlb ;;
    record) _quire_record ;;
    advise) _quire_advise ;;
    zones) _quire_figures "--types --pid --watch --count --replay --at" ;;
    top) _quire_top ;;
    tune) _quire_figures "--for --before --list" ;;
    export) _quire_export ;;
    ring) _quire_ring ;;
    log) _quire_log ;;
    help) ((COMP_CWORD == 2)) && mapfile -t COMPREPLY < <(compgen -W "run limit park resume dump report slabs doctor partition sim mrc plan layout translate segment free vmstat top ps maps time zones
        tune export log ring tlb record advise" -- "$cur") ;;
    esac
}

complete -F _quire quire

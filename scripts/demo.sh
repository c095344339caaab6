#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs a program plainly and then under Quire in less RAM, and shows that nothing but the RAM and
# the time differ. RAM (default: a third of what the plain run needed) and CMD (default: demo.py)
# come from the environment: make run RAM=128M CMD='sort -S 1G big.txt'.

set -euo pipefail
cd "$(dirname "$0")/.."
quire=$PWD/build/quire
python=/usr/bin/python3
[[ -x $python ]] || python=$(command -v python3)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [[ -n ${CMD:-} ]]; then
    command=(sh -c "$CMD")
    shown=$CMD
else
    command=("$python" scripts/demo.py)
    shown='python3 scripts/demo.py'
fi

figure() { # NAME KEY
    sed -n "s/^$2: //p" "$work/$1.figures"
}

mib() { # BYTES
    awk -v n="$1" 'BEGIN { printf "%.0f MiB", n / 1048576 }'
}

run() { # NAME COMMAND...: output to a file, figures beside it
    local name=$1
    shift
    local status=0
    "$python" scripts/measure.py --figures "$work/$name.figures" -- "$@" \
        >"$work/$name.out" || status=$?
    echo "$status" >"$work/$name.status"
}

printf '\n$ %s\n' "$shown"
run plain "${command[@]}"
head -n 20 "$work/plain.out"
needed=$(figure plain peak_anon_bytes)

ram=${RAM:-$((needed / 3 / 1048576))M}
if [[ -z ${RAM:-} && ${ram%M} -lt 16 ]]; then
    ram=16M
fi
printf '\n$ quire run --ram %s -- %s\n' "$ram" "$shown"
run quire "$quire" run --ram "$ram" -- "${command[@]}"
head -n 20 "$work/quire.out"

printf '\n%-18s %14s %14s\n' '' plainly "--ram $ram"
printf '%-18s %14s %14s\n' 'peak RAM' "$(mib "$needed")" "$(mib "$(figure quire peak_anon_bytes)")"
printf '%-18s %12.1f s %12.1f s\n' 'time' "$(figure plain wall_seconds)" "$(figure quire wall_seconds)"
printf '%-18s %14s %14s\n' 'exit status' "$(<"$work/plain.status")" "$(<"$work/quire.status")"
printf '(anonymous memory of all its processes, seen from outside in /proc)\n\n'

if ! cmp -s "$work/plain.status" "$work/quire.status"; then
    printf 'the exit status differs\n'
    exit 1
elif cmp "$work/plain.out" "$work/quire.out"; then
    printf 'the outputs are identical: %s bytes, sha256 %s\n' "$(wc -c <"$work/plain.out")" \
        "$(sha256sum <"$work/plain.out" | cut -c 1-16)"
else
    printf 'the outputs differ\n'
    exit 1
fi

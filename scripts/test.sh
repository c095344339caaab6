#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs the tests and ends with one line `N passed, N failed, N skipped` over all of them.
#
#   test.sh              gcc and clang, real programs, stress, sanitizers, format, lint; beside it all
#                        ten minutes of soak (docs/soak.md), and a minute of rings
#   test.sh full         the same with clang-tidy, the stress tests ten times over, all pairs of layouts,
#                        eleven minutes more of soak
#   test.sh sanitizers   these alone
#   test.sh quick        a minute: one build, unit, model, misuse and command tests, format, lint
#
# Each step logs to build-test/logs; what failed is shown at the end of its step. Other places:
# BUILD_ROOT. A step that stops the others from making sense (a build) counts as one failed test.
#
# What tests draw at random follows from the sources: who runs them again sees the same again, and
# each change draws anew. QUIRE_TEST_SEED=N draws another time; so does each repetition of `full`.

set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
root=$PWD
builds=${BUILD_ROOT:-$root/build-test}
logs=$builds/logs
passed=0
failed=0
skipped=0
soak=         # its process, while it goes on
rings=        # likewise
soak_minutes=10

say() {
    printf '\n== %s\n' "$*"
}

count() { # PASSED FAILED SKIPPED
    passed=$((passed + $1))
    failed=$((failed + $2))
    skipped=$((skipped + $3))
}

# One check that is a single test: TITLE COMMAND...
check() {
    local title=$1 start=$SECONDS
    shift
    if "$@" >"$logs/${title// /-}.log" 2>&1; then
        printf 'ok    %s (%d s)\n' "$title" $((SECONDS - start))
        count 1 0 0
    else
        printf 'FAIL  %s (%d s)\n' "$title" $((SECONDS - start))
        tail -n 40 "$logs/${title// /-}.log" | sed 's/^/      /'
        count 0 1 0
        return 1
    fi
}

# Sets up (where needed) and builds: NAME COMPILER [MESON OPTION...]
configure_and_build() {
    local directory=$builds/$1 compiler=$2
    shift 2
    if [[ -f $directory/build.ninja ]]; then
        meson setup --reconfigure "$directory" -Dwerror=true "$@" || return 1
    else
        CC=$compiler meson setup "$directory" -Dwerror=true "$@" || return 1
    fi
    ninja -C "$directory"
}

build() {
    check "build $1" configure_and_build "$@"
}

# Sets up and builds some C test programs alone: SANITIZER SUITE_NAME...
build_sanitized() {
    local directory=$builds/${1%%,*} sanitizer=$1 names targets
    shift
    names=$(IFS='|' && printf '%s' "$*")
    [[ -f $directory/build.ninja ]] ||
        CC=clang meson setup "$directory" -Dwerror=true -Db_sanitize="$sanitizer" \
            -Db_lundef=false -Dbuildtype=debugoptimized || return 1
    mapfile -t targets < <(ninja -C "$directory" -t targets all |
        sed -nE "s,^(tests/test_($names)): .*,\1,p")
    ((${#targets[@]})) || return 1
    ninja -C "$directory" "${targets[@]}"
}

# The C tests that make threads, as SUITE_NAME, of some suites.
threaded() {
    local suite
    for suite in "$@"; do
        grep -lE 'pthread_create|thread_start' "tests/$suite"/*.c
    done | sed -E 's,^tests/([a-z]+)/([a-z_]+)\.c$,\1_\2,'
}

# Runs tests of a build: NAME SUITE... or NAME -- TEST...; counts each test of them. `repeat`: how often, if not once.
suites() {
    local name=$1 start=$SECONDS arguments=() suite results
    local log=$logs/tests-$1
    shift
    if [[ $1 == -- ]]; then
        arguments=("${@:2}")
    else
        for suite in "$@"; do
            arguments+=(--suite "$suite")
        done
    fi
    [[ -z ${repeat:-} ]] || arguments+=(--repeat "$repeat")
    meson test -C "$builds/$name" --no-rebuild --logbase testlog "${arguments[@]}" \
        >"$log.log" 2>&1
    results=$(python3 "$root/scripts/test_results.py" "$builds/$name/meson-logs/testlog.json") ||
        results='0 1 0'
    # shellcheck disable=SC2086 # three numbers
    count $results
    printf '%s: %s: passed, failed, skipped: %s (%d s)\n' "$name" "$*" "$results" \
        $((SECONDS - start))
    python3 "$root/scripts/test_results.py" --failures "$builds/$name/meson-logs/testlog.json"
}

# Ten minutes of real programs at random, on processors that nobody else wants: from here on beside
# whatever comes, until soak_result. What it shows to others (published runs, temporary files) it has
# in a directory of its own.
soak_begin() {
    soak_directory=$(mktemp -d) || return 1
    XDG_RUNTIME_DIR=$soak_directory TMPDIR=$soak_directory python3 tests/programs/soak.py --beside \
        --quire "$builds/gcc/quire" --helpers "$builds/gcc/tests/programs" \
        --minutes "$soak_minutes" --cut 300 >"$logs/soak-output.log" 2>&1 &
    soak=$!
    soak_until=$((SECONDS + soak_minutes * 60))
}

# Has it end, if it still goes on, and removes what it may have left; its status.
soak_end() {
    local status
    kill -TERM "$soak" 2>/dev/null
    wait "$soak"
    status=$?
    soak=
    rm -rf "$soak_directory"
    return $status
}

soak_result() {
    local status
    while ((SECONDS < soak_until)) && kill -0 "$soak" 2>/dev/null; do
        sleep 1
    done
    soak_end
    status=$?
    cat "$logs/soak-output.log"
    return $status
}

# A minute of rings among many members, likewise on processors that nobody else wants.
rings_begin() {
    setsid chrt --idle 0 "$builds/gcc/tests/test_stress_ring_soak" 60 >"$logs/rings-output.log" 2>&1 &
    rings=$!
}

rings_result() {
    local status
    wait "$rings"
    status=$?
    rings=
    cat "$logs/rings-output.log"
    return $status
}

# The script ends; it was interrupted if the soak still goes on.
leave() {
    [[ -z $rings ]] || kill -TERM -- "-$rings" 2>/dev/null
    [[ -n $soak ]] || return
    soak_end
    echo "the soak was ended before its time; $logs/soak-output.log has what it saw:"
    tail -n 3 "$logs/soak-output.log"
}

sources() {
    find src include tests bench examples -name '*.[ch]' 2>/dev/null | sort
}

format() {
    local formatter
    formatter=$(command -v clang-format-14 || command -v clang-format) || {
        echo 'no clang-format'
        return 1
    }
    sources | xargs "$formatter" --dry-run -Werror
}

scripts_lint() {
    find scripts tests bench .ci completions -type f \( -name '*.sh' -o -path '.ci/run' \) -print0 |
        xargs -0 shellcheck
}

python_syntax() {
    find scripts tests bench -name '*.py' -print0 |
        xargs -0 python3 -c 'import ast, sys
for name in sys.argv[1:]:
    ast.parse(open(name, encoding="utf-8").read(), name)'
}

cpp_check() {
    cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,portability,performance \
        --inline-suppr --suppress=missingIncludeSystem --suppress=allocaCalled \
        --suppress=signConversion -D__x86_64__=1 \
        -D_GNU_SOURCE -DQUIRE_VERSION='""' -DQUIRE_LIBDIR='""' -I src -I include -j 2 src
}

clang_tidy() {
    find src -name '*.c' -print0 |
        xargs -0 -P 2 -n 4 clang-tidy --quiet -p "$builds/clang" --warnings-as-errors='*'
}

static_checks() {
    printf 'QUIRE_TEST_SEED=%s\n' "$QUIRE_TEST_SEED"
    say 'format and lint'
    check format format
    check layers python3 tests/cli/layers.py
    check shellcheck scripts_lint
    check 'python syntax' python_syntax
    check cppcheck cpp_check
}

quick() {
    static_checks
    say 'gcc'
    build gcc gcc && suites gcc unit model misuse examples cli
}

everything() {
    static_checks
    say 'gcc: everything'
    build gcc gcc && soak_begin && rings_begin &&
        suites gcc unit model fault misuse fuzz cli stress examples programs
    # For its warnings, unoptimised: what clang makes of the C tests, the sanitizers run.
    say 'clang'
    build clang clang -Dbuildtype=debug && suites clang misuse examples
    sanitizers
    if [[ -n $rings ]]; then
        check 'rings beside' rings_result
    fi
    if [[ -n $soak ]]; then
        check 'soak beside' soak_result
        grep ' good, ' "$logs/soak-output.log"
    fi
}

# What the pager does, it does to the memory of programs that are not sanitized (suite `programs`);
# here are the parts of it, and under ASan the pager itself.
sanitizers() {
    local threaded
    say 'address and undefined behaviour sanitizers'
    export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
    check 'build address' build_sanitized address,undefined '(unit|model|stress)_[a-z0-9_]+' &&
        suites address unit model stress
    say 'thread sanitizer'
    # Not leaks of threads: to a child, one that had just ended at the fork looks never joined.
    export TSAN_OPTIONS=halt_on_error=1:report_thread_leaks=0
    mapfile -t threaded < <(threaded unit stress)
    check 'build thread' build_sanitized thread "${threaded[@]}" &&
        suites thread -- "${threaded[@]#*_}"
}

full() {
    local build threaded
    everything
    say 'clang-tidy'
    check clang-tidy clang_tidy
    say 'stress'
    unset QUIRE_TEST_SEED
    for build in gcc address thread; do
        repeat=10 suites "$build" stress
    done
    say 'soak'
    check 'ring soak' "$builds/gcc/tests/test_stress_ring_soak" 60
    check 'every layout' env QUIRE_TEST_ROUNDS=64000 "$builds/gcc/tests/test_model_layout_model"
    check 'ring kills' "$builds/gcc/tests/test_stress_ring_stress" 3000
    check 'soak' python3 tests/programs/soak.py --quire "$builds/gcc/quire" \
        --helpers "$builds/gcc/tests/programs" --minutes 10 --cut 60
}

main() {
    mkdir -p "$logs"
    trap leave EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    export QUIRE_TEST_SEED=${QUIRE_TEST_SEED:-$(sources | LC_ALL=C sort | xargs cat | cksum | cut -d ' ' -f 1)}
    scripts/install-deps.sh build test || exit 1
    case ${1:-all} in
    quick) quick ;;
    all) everything ;;
    full) full ;;
    sanitizers) sanitizers ;;
    *)
        echo "usage: test.sh [quick|full|sanitizers]" >&2
        exit 2
        ;;
    esac
    printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
    ((failed == 0 && passed > 0))
}

main "$@"

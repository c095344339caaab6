#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs what Quire needs on Debian and Ubuntu: `install-deps.sh build|test|bench|record ...`.
#
#   build   compilers, meson and the libraries that Quire links
#   test    linters, sanitizers, and the real programs that the tests run
#   bench   what bench/ measures beside Quire: allocators, rings, tensor libraries
#   record  the emulated machines that tests/mmu/ records its fixtures from; no test needs them
#
# Does nothing, in a few milliseconds, when everything is there. Elsewhere it looks for the tools
# and libraries themselves and names what is missing.

set -euo pipefail

build_packages=(
    gcc libc6-dev meson ninja-build pkg-config python3
    liblz4-dev libzstd-dev liburing-dev libjansson-dev libxxhash-dev libsodium-dev libcmocka-dev
    libcairo2-dev libncurses-dev libonnx-dev protobuf-c-compiler libprotobuf-c-dev
)

# The last line is what small images leave out: to make and mount a file system, to read a manual
# page. redis-tools has the server's binary too (as redis-check-rdb) and, unlike redis-server, no
# service that would start by itself. CPython's tests come as a package of the interpreter's own
# version.
test_packages=(
    g++ clang clang-format-14 clang-tidy cppcheck shellcheck gdb strace
    redis-tools sqlite3 ruby lua5.4 perl stress-ng memtester xz-utils zstd valgrind
    e2fsprogs man-db mount procps tmux util-linux
    chromium libonnx-testdata python3-onnx
    sox espeak-ng
    makedumpfile liblzo2-2 libsnappy1v5 zlib1g
)

bench_packages=(
    libmimalloc2.0 libjemalloc2 libtcmalloc-minimal4 redis-tools
    libqb-dev libck-dev libdpdk-dev libzmq3-dev libdnnl-dev libopenblas-dev
)

record_packages=(
    qemu-system-x86 qemu-system-misc qemu-system-arm qemu-system-ppc seabios
    bochs bochsbios bochs-term vgabios clang lld
)

die() {
    printf 'install-deps: %s\n' "$*" >&2
    exit 1
}

have() {
    command -v "$1" >/dev/null 2>&1
}

# Packages whose names depend on the versions that this release has, one a line.
versioned_packages() {
    local version
    if version=$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])'); then
        printf 'libpython%s-testsuite\n' "$version"
    fi
    # clang's sanitizer runtimes: on Debian apart from clang itself.
    if version=$(clang -dumpversion 2>/dev/null) &&
        [[ -z $(compgen -G "/usr/lib/llvm-${version%%.*}/lib/clang/*/lib/linux/libclang_rt.asan-*") ]]; then
        printf 'libclang-rt-%s-dev\n' "${version%%.*}"
    fi
    # A node from another source than Debian is as good.
    have node || printf 'nodejs\n'
}

as_root() {
    if ((EUID == 0)); then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        die "missing packages, and neither root nor sudo here to install them; as root, run:
  apt-get install $(printf '%s ' "${missing[@]}")"
    fi
}

# Sets `missing` to those of its arguments that are not installed.
find_missing() {
    local package status
    local -A there=()
    while read -r package status; do
        [[ $status != 'install ok installed' ]] || there[$package]=yes
    done < <(dpkg-query -W -f '${Package} ${Status}\n' "$@" 2>/dev/null)
    missing=()
    for package in "$@"; do
        [[ -n ${there[$package]:-} ]] || missing+=("$package")
    done
}

# Patient with a mirror that stutters, and with who else is installing at the moment.
apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -o Acquire::Retries=5 -o DPkg::Lock::Timeout=600 "$@" >&2
}

install_missing() {
    ((${#missing[@]})) || return 0
    printf 'install-deps: installing %s\n' "${missing[*]}" >&2
    if ! $updated; then
        apt_get update
        updated=true
    fi
    apt_get install -y --no-install-recommends "${missing[@]}"
}

# promtool, which checks what `quire export` prints. Debian has it in the package of the server, whose
# installation starts a service, now or at the next boot; so this one file is unpacked and nothing
# installed. Without it its test is skipped.
unpack_promtool() {
    local tools=${BUILD_ROOT:-$(dirname "$0")/../build-test}/tools work
    if have promtool || [[ -x $tools/promtool ]]; then
        return 0
    fi
    printf 'install-deps: unpacking promtool\n' >&2
    work=$(mktemp -d)
    chmod 755 "$work"
    if (cd "$work" && { apt-get -qq -o Acquire::Retries=5 download prometheus ||
        { apt_get update && apt-get -qq download prometheus; }; } >/dev/null 2>&1) &&
        dpkg-deb --fsys-tarfile "$work"/prometheus_*.deb |
        tar -xf - -C "$work" ./usr/bin/promtool; then
        mkdir -p "$tools"
        mv "$work/usr/bin/promtool" "$tools/promtool"
    else
        printf 'install-deps: no promtool to be had: its test will be skipped\n' >&2
    fi
    rm -rf "$work"
}

install_with_apt() {
    local want=() versioned=() set
    for set in "$@"; do
        case $set in
        build) want+=("${build_packages[@]}") ;;
        test) want+=("${test_packages[@]}") ;;
        bench) want+=("${bench_packages[@]}") ;;
        record) want+=("${record_packages[@]}") ;;
        esac
    done
    find_missing "${want[@]}"
    install_missing
    # These depend on what the first step may just have installed.
    if [[ " $* " == *' test '* ]]; then
        mapfile -t versioned < <(versioned_packages)
        find_missing "${versioned[@]}"
        install_missing
        unpack_promtool
    fi
}

# Without apt nothing can be installed, but all may be there.
check_by_hand() {
    local lacking=() tool library
    for tool in cc meson ninja pkg-config python3 protoc-c; do
        have "$tool" || lacking+=("$tool")
    done
    if have pkg-config; then
        for library in liblz4 libzstd liburing jansson libxxhash libsodium cmocka cairo-svg ncursesw \
            libprotobuf-c; do
            pkg-config --exists "$library" || lacking+=("$library (headers)")
        done
    fi
    ((${#lacking[@]} == 0)) ||
        die "this is neither Debian nor Ubuntu; please install: $(printf '%s, ' "${lacking[@]}" | sed 's/, $//')"
    [[ " $* " != *' test '* ]] ||
        printf 'install-deps: no apt here: tests whose programs are missing will be skipped\n' >&2
}

main() {
    (($#)) || set -- build
    local set
    for set in "$@"; do
        [[ $set == build || $set == test || $set == bench || $set == record ]] ||
            die "no such set: $set (build, test, bench, record)"
    done
    if have apt-get && have dpkg-query; then
        install_with_apt "$@"
    else
        check_by_hand "$@"
    fi
}

missing=()
updated=false
main "$@"

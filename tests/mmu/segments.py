#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Records what a processor makes of segments, from all rings: the fixture of tests/cli/segment.py.

Usage: segments.py [FILE]                  writes FILE, by default segments.json beside this script

Wants Bochs, clang and lld (`scripts/install-deps.sh record`). Bochs is the processor: QEMU's has no limits and no types when memory is accessed. segments.c boots from a floppy
disk's image and writes what happened to the parallel port.
"""
import base64
import lzma
import os
import pathlib
import pty
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
from emulator import assemble, write_fixture

HERE = pathlib.Path(__file__).parent
PROGRAM_AT, SECTORS = 0x10000, 64
PATIENCE_SECONDS = 200

# Reads the sectors behind it, by the BIOS, and goes there in protected mode.
BOOT = f"""
.code16
    cli
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %ss
    mov $0x7c00, %sp
    sti
    mov ${PROGRAM_AT >> 4}, %ax
    mov %ax, %es
    mov $1, %di
1:  mov %di, %ax
    mov $18, %cl
    div %cl
    mov %ah, %cl
    inc %cl
    mov %al, %dh
    and $1, %dh
    shr %al
    mov %al, %ch
    mov $0, %dl
    xor %bx, %bx
    mov $0x0201, %ax
    int $0x13
    jc 1b
    mov %es, %ax
    add $32, %ax
    mov %ax, %es
    inc %di
    cmp ${SECTORS}, %di
    jbe 1b
    cli
    in $0x92, %al
    or $2, %al
    out %al, $0x92
    lgdt table
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmpl $8, $2f
.code32
2:  mov $16, %eax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    jmp *{PROGRAM_AT}
.balign 8
gdt: .quad 0, 0x00cf9a000000ffff, 0x00cf92000000ffff
table: .word 23
    .long gdt
.org 510
.word 0xaa55
"""
LAYOUT = "SECTIONS { . = %#x; .all : { *(.boot) *(.text*) *(.rodata*) *(.data*) } .bss : { *(.bss*) } }"

BOCHS = """
romimage: file=/usr/share/bochs/BIOS-bochs-legacy
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
megs: 32
floppya: 1_44=floppy, status=inserted, write_protected=1
boot: floppy
parport1: enabled=1, file=answers
display_library: term
log: log
panic: action=fatal
cpu: model=bx_generic, ips=50000000, reset_on_triple_fault=0
"""


def make_floppy(directory):
    subprocess.run(["clang", "--target=i386-none-elf", "-ffreestanding", "-fno-stack-protector",
                    "-mno-sse", "-O1", "-c", "-o", directory / "segments.o", HERE / "segments.c"],
                   check=True)
    (directory / "layout").write_text(LAYOUT % PROGRAM_AT)
    subprocess.run(["ld.lld", "--oformat=binary", "-T", directory / "layout", "-e", "_start", "-o",
                    directory / "segments.bin", directory / "segments.o"], check=True)
    program = (directory / "segments.bin").read_bytes()
    assert len(program) <= SECTORS * 512, "the boot sector reads fewer sectors than there are"
    boot = assemble("i386-none-elf", BOOT, directory, at=0x7c00)
    (directory / "floppy").write_bytes((boot + program).ljust(1440 * 1024, b"\0"))


def run_bochs(directory):
    """What the program wrote. Bochs draws its screen on a terminal, which nobody looks at."""
    (directory / "bochsrc").write_text(BOCHS)
    (directory / "commands").write_text("c\n")  # Debian's has a debugger, which waits for this
    master, slave = pty.openpty()
    with subprocess.Popen(["bochs", "-q", "-f", "bochsrc", "-rc", "commands"], cwd=directory,
                          stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                          env={**os.environ, "TERM": "xterm"}) as process:
        try:
            os.set_blocking(master, False)
            deadline, data = time.time() + PATIENCE_SECONDS, b""
            while time.time() < deadline and not is_complete(data):
                time.sleep(1)
                try:
                    os.read(master, 1 << 20)
                except BlockingIOError:
                    pass
                path = directory / "answers"
                data = path.read_bytes() if path.exists() else b""
        finally:
            process.kill()
    if not is_complete(data):
        raise RuntimeError(f"after {len(data)} bytes: {(directory / 'log').read_text()[-2000:]}")
    return data


def is_complete(data):
    """Walks the records, as tests/cli/segment.py does, to the last one."""
    at = 0
    while at < len(data):
        kind = chr(data[at])
        if kind == "E":
            return True
        if kind in "GL":
            at += 5 + 8 * int.from_bytes(data[at + 1:at + 5], "little")
        else:
            at += {"A": 18, "R": 13}[kind]
    return False


def main():
    target = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else HERE / "segments.json")
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        make_floppy(directory)
        data = run_bochs(directory)
    version = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "bochs"], check=False,
                             capture_output=True, text=True).stdout
    answers = base64.b64encode(lzma.compress(data, preset=9)).decode()
    write_fixture(target, {"bochs": version, "answers": answers})
    print(f"{len(data)} bytes of answers, {len(answers)} in the fixture")
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Records what Linux says of its own page tables: fixtures of tests/cli/translate.py.

Usage: linux.py [DIRECTORY [NAME...]]      writes DIRECTORY/NAME.json, by default beside this script

Wants QEMU, clang and lld (`scripts/install-deps.sh record`), and apt, which fetches Debian's kernels by
name: nothing is installed, no architecture is added, they stay in quire-guest-kernels of the temporary
directory. A kernel boots under QEMU with one program (guest.c), which maps memory in many ways, tells
what /proc/self/pagemap says of it, and spins. QEMU is then stopped and asked for the registers, for
where addresses lead (gva2gpa) and for memory, of which the fixture keeps the page tables (found by
tables.py) and the program's words.
"""
import pathlib
import random
import re
import struct
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import tables
from emulator import GdbStub, Qemu, pack, translations, write_fixture, x86_ranges

CACHE = pathlib.Path(tempfile.gettempdir()) / "quire-guest-kernels"
HERE = pathlib.Path(__file__).parent
N_ADDRESSES = 300
PATIENCE_SECONDS = 600


# What boots

def apt(architecture, directory, *arguments, tool="apt-get"):
    """apt with lists of its own, for packages of any architecture that are only unpacked."""
    options = {"APT::Architecture": architecture, "APT::Architectures": architecture,
               "APT::Sandbox::User": "root", "Dir::State::Lists": directory / "lists",
               "Dir::Cache": directory, "Dir::State::status": "/dev/null", "Acquire::Retries": 5}
    if architecture == "riscv64":  # Debian 13 is the first to have it
        (directory / "sources").write_text(
            "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] "
            f"{debian_source()} trixie main\n")
        options.update({"Dir::Etc::SourceList": directory / "sources",
                        "Dir::Etc::SourceParts": "/dev/null"})
    command = [tool, "-q", *(f"-o{key}={value}" for key, value in options.items()), *arguments]
    return subprocess.run(command, cwd=directory, check=tool != "apt-get" or "update" not in arguments,
                          stdout=subprocess.PIPE, text=True).stdout


def debian_source():
    """Where this machine has Debian from."""
    lines = subprocess.run(["apt-get", "indextargets", "--format", "$(ORIGIN) $(REPO_URI)",
                            "Created-By: Packages"], check=True, stdout=subprocess.PIPE,
                           text=True).stdout.splitlines()
    return next(line.split()[1] for line in lines if line.startswith("Debian ")
                and "security" not in line)


def kernel(architecture, name):
    """The kernel image that Debian's package `name` depends on."""
    directory = CACHE / architecture
    for part in ("lists/partial", "archives/partial", name):
        (directory / part).mkdir(parents=True, exist_ok=True)
    found = sorted((directory / name / "boot").glob("vmlinu?-*"))
    if not found:
        apt(architecture, directory, "update")
        about = apt(architecture, directory, "show", name, tool="apt-cache")
        package = re.search(r"^Depends: .*?(linux-image-[^ ,]+)", about, re.M).group(1)
        apt(architecture, directory, "download", package)
        archive = next(directory.glob(f"{package}_*.deb"))
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", archive], stdout=subprocess.PIPE) as tar:
            subprocess.run(["tar", "-x", "-C", directory / name, "--wildcards", "./boot/vmlinu*"],
                           stdin=tar.stdout, check=True)
        archive.unlink()
        found = sorted((directory / name / "boot").glob("vmlinu?-*"))
    return found[-1]


def cpio(files):
    """An initramfs: {name: (mode, device, data)}."""
    data = b""
    for number, (name, (mode, device, content)) in enumerate([*files.items(),
                                                              ("TRAILER!!!", (0, (0, 0), b""))]):
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(name) + 1, 0)
        data += b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        data += bytes(-len(data) % 4) + content
        data += bytes(-len(data) % 4)
    return data


def initramfs(target, directory, *options):
    program = directory / "guest"
    subprocess.run(["clang", f"--target={target}", "-ffreestanding", "-nostdlib", "-static",
                    "-fuse-ld=lld", "-O1", "-fno-stack-protector", *options, "-o", program,
                    HERE / "guest.c"], check=True)
    path = directory / "initramfs"
    path.write_bytes(cpio({"dev": (0o40755, (0, 0), b""), "proc": (0o40755, (0, 0), b""),
                           "dev/console": (0o20600, (5, 1), b""),
                           "init": (0o100755, (0, 0), program.read_bytes())}))
    return path


# What it says

def wait_for_guest(path, process):
    deadline = time.time() + PATIENCE_SECONDS
    while time.time() < deadline and process.poll() is None:
        text = path.read_text(errors="replace").replace("\r", "") if path.exists() else ""
        if "\ndone\n" in text:
            return text
        time.sleep(1)
    raise RuntimeError(f"the guest did not get to its end:\n{text[-2000:]}")


def told(text):
    """What guest.c printed, as the fixture has it."""
    result = {"pagemap": []}
    for line in text.splitlines():
        match = re.match(r"page (0x[0-9a-f]+) ([-r]) ([-w]) (0x[0-9a-f]+)$", line)
        absent = re.match(r"page (0x[0-9a-f]+) (0x[0-9a-f]+) - -$", line)
        words = re.match(r"(pkru|text|code|words) (0x[0-9a-f]+)", line)
        if match:
            va, read, write, entry = match.groups()
            frame = int(entry, 16) & (1 << 55) - 1
            result["pagemap"].append([va, f"{frame << 12:#x}", read + write])
        elif absent:
            result["pagemap"].append([absent.group(1), None, "--"])
        elif words:
            result[words.group(1)] = words.group(2)
    return result


# Memory: the tables and the words, as ranges of a LiME file

def lime(memory, frames, frame_bytes):
    ranges = []
    for frame in sorted(frames):
        if ranges and ranges[-1][1] == frame:
            ranges[-1][1] += frame_bytes
        else:
            ranges.append([frame, frame + frame_bytes])
    return b"".join(struct.pack("<IIQQQ", 0x4c694d45, 1, first, end - 1, 0)
                    + memory.bytes[first - memory.start:end - memory.start] for first, end in ranges)


def lookups(listed, source, pages):
    """Some of what the program and (where QEMU lists it) the kernel have, and what lies between."""
    top = (1 << 64) - 1
    found = [int(va, 16) + source.randrange(4096)
             for va, _, _ in source.sample(pages, min(len(pages), N_ADDRESSES // 3))]
    for va, size in source.sample(listed, min(len(listed), N_ADDRESSES // 3)):
        found.append(va + source.randrange(size) & top)
        found.append(source.choice((va + size, va - 1)) & top)
    return sorted(set(found))


def record(command, kind, name, start, n_bytes, registers):
    source = random.Random(name)
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        console = directory / "console"
        qemu = Qemu([*command(directory), "-m", str(n_bytes >> 20)], serial=f"file:{console}")
        try:
            text = wait_for_guest(console, qemu.process)
            qemu.send("stop")
            arguments, roots = registers(qemu)
            saved = directory / "memory"
            qemu.ask(f'pmemsave {start:#x} {n_bytes} "{saved}"')
            memory = tables.Memory(start, 0)
            memory.bytes = bytearray(saved.read_bytes())
            found = tables.walk_all(kind, memory, roots)
            result = {"qemu": qemu.send("query-version")["return"]["package"],
                      "linux": re.search(r"Linux version (\S+)", text).group(1),
                      "arguments": arguments, **told(text)}
            addresses = lookups(found.pages, source, result["pagemap"])
            result["translations"] = translations(qemu, addresses)
            if kind.ranges:
                result["rights"] = x86_ranges(qemu)
        finally:
            qemu.close()
    frames = set(found.tables)
    first = int(result["words"], 16)
    frames |= {int(pa, 16) for va, pa, _ in result["pagemap"] if 0 <= int(va, 16) - first < 3 * 4096}
    result["memory"] = pack(lime(memory, frames, 1 << kind.page_shift))
    return result


# Machines

def x86_registers(qemu):
    text = qemu.ask("info registers")
    values = {name: int(value, 16) for name, value in
              re.findall(r"(CR[034]|EFER)=([0-9a-f]+)", text)}
    arguments = ["--arch", "x86"]
    for name in ("CR0", "CR3", "CR4", "EFER"):
        arguments += [f"--{name.lower()}", f"{values[name]:#x}"]
    return arguments, [values["CR3"]]


def x86(kind, name, architecture, package, cpu, words=""):
    def command(directory):
        target = "x86_64-linux-gnu" if architecture == "amd64" else "i386-linux-gnu"
        return ["qemu-system-x86_64", "-cpu", cpu, "-net", "none", "-kernel",
                kernel(architecture, package), "-initrd", initramfs(target, directory), "-append",
                f"console=ttyS0 quiet loglevel=7 nokaslr panic=-1 {words}"]
    return record(command, kind, name, 0, 96 << 20, x86_registers)


def arm_registers(qemu):
    stub = GdbStub(qemu)
    values = stub.read("TCR_EL1", "TTBR0_EL1", "TTBR1_EL1", "MAIR_EL1")
    arguments = ["--arch", "arm64"]
    for option, value in zip(("--tcr", "--ttbr0", "--ttbr1", "--mair"), values):
        arguments += [option, f"{value:#x}"]
    return arguments, [value & 0xfffffffffffe for value in values[1:3]]


def arm(kind, name, package):
    def command(directory):
        return ["qemu-system-aarch64", "-machine", "virt", "-cpu", "cortex-a72", "-net", "none",
                "-kernel", kernel("arm64", package), "-initrd",
                initramfs("aarch64-linux-gnu", directory), "-append",
                "console=ttyAMA0 loglevel=7 nokaslr panic=-1", *GdbStub.options(directory)]
    return record(command, kind, name, 1 << 30, 128 << 20, arm_registers)


def riscv_registers(qemu):
    text = qemu.ask("info registers")
    values = {name: int(value, 16) for name, value in
              re.findall(r"(satp|mstatus)\s+([0-9a-f]+)", text)}
    return ["--arch", "riscv", "--satp", f"{values['satp']:#x}"], [values["satp"] << 12]


def riscv(kind, name, words):
    def command(directory):
        return ["qemu-system-riscv64", "-machine", "virt", "-net", "none", "-kernel",
                kernel("riscv64", "linux-image-riscv64"), "-initrd",
                initramfs("riscv64-linux-gnu", directory, "-march=rv64g", "-mno-relax"), "-append",
                f"console=ttyS0 loglevel=7 nokaslr panic=-1 {words}"]
    return record(command, kind, name, 1 << 31, 160 << 20, riscv_registers)


MACHINES = {
    "linux-x86-48": lambda name: x86(tables.X86, name, "amd64", "linux-image-cloud-amd64",
                                     "max,la57=off"),
    "linux-x86-57": lambda name: x86(tables.X86La57, name, "amd64", "linux-image-cloud-amd64", "max"),
    "linux-x86-pae": lambda name: x86(tables.X86Pae, name, "i386", "linux-image-686-pae", "max"),
    "linux-x86-32": lambda name: x86(tables.X86Two, name, "i386", "linux-image-686", "max"),
    "linux-sv39": lambda name: riscv(tables.Riscv, name, "no4lvl"),
    "linux-sv48": lambda name: riscv(tables.Riscv48, name, "no5lvl"),
    "linux-arm64": lambda name: arm(tables.Arm, name, "linux-image-cloud-arm64"),
}


def main():
    target = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else HERE / "machines")
    for name in sys.argv[2:] or MACHINES:
        result = MACHINES[name](name)
        there = sum(pa is not None for _, pa, _ in result["pagemap"])
        write_fixture(target / f"{name}.json", result)
        print(f"{name}: Linux {result['linux']}, {there} of {len(result['pagemap'])} pages there, "
              f"{len(result['memory'])} bytes of memory")
    return 0


if __name__ == "__main__":
    sys.exit(main())

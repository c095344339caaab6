# SPDX-License-Identifier: Apache-2.0
"""QEMU and what its monitor can be asked; programs for its processors."""
import base64
import json
import re
import socket
import subprocess
import time
import zlib

NOWHERE = 0x7000  # below all that is mapped


class Qemu:
    def __init__(self, command, serial="none"):
        self.process = subprocess.Popen(command + ["-display", "none", "-serial", serial, "-monitor",
                                                   "none", "-qmp", "stdio", "-no-reboot"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.read()
        self.send("qmp_capabilities")

    def wait_for_paging(self):
        for _ in range(1000):  # until paging is on: before, every address is its own
            if f"gpa: {NOWHERE:#x}" not in self.ask(f"gva2gpa {NOWHERE:#x}"):
                return
            time.sleep(0.1)
        raise RuntimeError("the program did not switch paging on")

    def read(self):
        while True:
            answer = json.loads(self.process.stdout.readline())
            if "event" not in answer:
                return answer

    def send(self, command, **arguments):
        self.process.stdin.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.process.stdin.flush()
        return self.read()

    def ask(self, line):
        return self.send("human-monitor-command", **{"command-line": line})["return"]

    def close(self):
        self.process.kill()
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(30)


class GdbStub:
    """System registers that the monitor does not show: GDB's remote protocol, on a local socket."""

    @staticmethod
    def options(directory):
        return ["-chardev", f"socket,id=gdb,path={directory}/gdb,server=on,wait=off", "-gdb",
                "chardev:gdb"]

    def __init__(self, qemu):
        path = next(word for word in qemu.process.args if "id=gdb,path=" in str(word))
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(re.search("path=([^,]+)", path).group(1))

    def ask(self, text):
        self.socket.sendall(f"${text}#{sum(text.encode()) & 255:02x}".encode())
        answer = b""
        while not re.search(rb"#[0-9a-f]{2}$", answer):
            answer += self.socket.recv(65536)
        self.socket.sendall(b"+")
        return answer[answer.index(b"$") + 1:-3].decode("latin-1")

    def read_feature(self, name):
        text = ""
        while True:
            part = self.ask(f"qXfer:features:read:{name}:{len(text):x},ff0")
            text += part[1:]
            if part[:1] != "m":
                return text

    def read(self, *names):
        self.ask("qSupported:xmlRegisters=arm")
        target = self.read_feature("target.xml")
        text = "".join(self.read_feature(name) for name in re.findall(r'href="([^"]+)"', target))
        numbers = {}
        for name, number in re.findall(r'<reg name="([^"]+)"[^>]*regnum="(\d+)"', text):
            numbers.setdefault(name, int(number))
        values = [self.ask(f"p{numbers[name]:x}") for name in names]
        self.socket.close()
        return [int.from_bytes(bytes.fromhex(value), "little") for value in values]


def translations(qemu, addresses):
    results = []
    for va in addresses:
        answer = qemu.ask(f"gva2gpa {va:#x}")
        match = re.search(r"gpa: (0x[0-9a-f]+)", answer)
        results.append([f"{va:#x}", match.group(1) if match else None])
    return results


def x86_mappings(qemu):
    """`info tlb`: pages, with the flags of the last entry."""
    pages = []
    for line in qemu.ask("info tlb").splitlines():
        match = re.match(r"([0-9a-f]+): ([0-9a-f]+) ([-XGPDACTUW]{9})$", line.strip())
        assert match, line
        flags = match.group(3)
        pages.append([f"0x{int(match.group(1), 16):x}", f"0x{int(match.group(2), 16):x}",
                      "".join(flag for flag in "GAD" if flag in flags)])
    return pages


def x86_ranges(qemu):
    """`info mem`: runs of addresses, with what all levels leave: u, r, w. None with 5 levels (7.2)."""
    ranges = []
    for line in qemu.ask("info mem").splitlines():
        start, end, size, rights = re.match(r"([0-9a-f]+)-([0-9a-f]+) ([0-9a-f]+) (\S+)",
                                            line.strip()).groups()
        ranges.append([f"0x{int(start, 16):x}", int(size, 16), rights])
    return ranges


def riscv_ranges(qemu):
    ranges = []
    for line in qemu.ask("info mem").splitlines():
        match = re.match(r"([0-9a-f]{8,16}) ([0-9a-f]{16}) ([0-9a-f]{8,16}) ([-rwxugad]{7})", line.strip())
        if match:
            va, pa, size, flags = match.groups()
            ranges.append([f"0x{int(va, 16):x}", f"0x{int(pa, 16):x}", int(size, 16), flags])
    return ranges


def pack(data):
    return base64.b64encode(zlib.compress(bytes(data), 9)).decode()


def write_fixture(path, result):
    """JSON with a line for each key."""
    lines = [f'"{key}": {json.dumps(value)}' for key, value in result.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def assemble(target, text, directory, *options, at=0):
    """The bytes of a program that lies at some address."""
    source, middle, program = (directory / f"program.{kind}" for kind in ("s", "o", "bin"))
    source.write_text(text)
    subprocess.run(["clang", f"--target={target}", *options, "-c", "-o", middle, source], check=True)
    subprocess.run(["ld.lld", "--oformat=binary", f"-Ttext={at:#x}", "--entry=0", "-o", program, middle],
                   check=True)
    return program.read_bytes()

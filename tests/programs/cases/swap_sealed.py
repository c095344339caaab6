# SPDX-License-Identifier: Apache-2.0
"""What lies in the swap file says nothing, and nothing of it can be changed unnoticed.

A program fills the file and waits. Meanwhile the file is looked at, as by somebody who has the disk,
and changed: bits flipped, clusters exchanged, an older state of it brought back, its end cut off.
The program must then end with the one message before it sees a wrong byte; unless nothing was
changed.
"""
import mmap
import os
import pathlib
import re
import subprocess
import time

from harness import MIB, PATIENCE_SECONDS

BUDGET = 12 * MIB
CLUSTER = 64 << 10
MARKER = b"in-clear-on-the-disk"
KEY_AT, KEY_BYTES = 12, 48  # within the page that the keeper holds: struct seal

# Pages that do not compress, so they go to the file as they are; each has the marker.
PROGRAM = f"""
import hashlib, os, sys
def fill():
    return [b"".join(os.urandom(3800) + {MARKER!r} * 14 + bytes(16) for _ in range(64))
            for _ in range(56)]
def digest(blocks):
    sum = hashlib.sha256()
    for block in blocks:
        sum.update(block)
    return sum.digest()
blocks = fill()
before = digest(blocks)
print("filled", flush=True)
sys.stdin.readline()
if sys.argv[1] == "again":
    for i, block in enumerate(fill()):
        blocks[i] = block
    before = digest(blocks)
    print("filled", flush=True)
    sys.stdin.readline()
print("OK" if digest(blocks) == before else "wrong")
"""


class Running:
    """The program under quire, waiting for a line."""

    def __init__(self, case, how="", program=PROGRAM):
        self.case = case
        self.process = subprocess.Popen(
            [case.quire, "run", "--ram", str(BUDGET), "--quiet", "--", case.python(), "-c", program,
             how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.wait_filled()
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children",
                  encoding="ascii") as file:
            children = [int(word) for word in file.read().split()]
        names = {pathlib.Path(f"/proc/{child}/comm").read_text().strip(): child
                 for child in children}
        self.keeper = names.pop("quire-keeper")
        self.program = next(iter(names.values()))

    def wait_filled(self):
        line = self.process.stdout.readline()
        self.case.check(line == b"filled\n", f"the program said {line!r}")

    def descriptor(self, pattern):
        """The keeper's descriptor of a file, as a path."""
        for name in os.listdir(f"/proc/{self.keeper}/fd"):
            path = f"/proc/{self.keeper}/fd/{name}"
            if re.search(pattern, os.readlink(path)):
                return path
        raise AssertionError(pattern)

    def swap(self):
        return open(self.descriptor(r"/#?[^/]*swap[^/]* \(deleted\)$|/#\d+ \(deleted\)$"), "r+b",
                    buffering=0)

    def go_on(self):
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def end(self):
        """(status, what Quire said, what the program said)"""
        out, err = self.process.communicate(b"\n", timeout=PATIENCE_SECONDS)
        for pid in (self.keeper, self.program):
            end = time.monotonic() + PATIENCE_SECONDS
            while os.path.exists(f"/proc/{pid}"):
                self.case.check(time.monotonic() < end, f"process {pid} was left behind")
                time.sleep(0.01)
        return self.process.returncode, err.decode(), out


def holes_left_out(file):
    """(offset, bytes) of what was written, cluster by cluster."""
    size = os.fstat(file.fileno()).st_size
    for at in range(0, size, CLUSTER):
        cluster = os.pread(file.fileno(), CLUSTER, at)
        if cluster.strip(b"\0"):
            yield at, cluster


def flip(file):
    """One bit in each unit: where nothing lives it does not matter."""
    for at, cluster in list(holes_left_out(file)):
        changed = bytearray(cluster)
        for unit in range(0, len(changed), 512):
            changed[unit + unit // 512 % 512] ^= 1 << unit // 512 % 8
        os.pwrite(file.fileno(), changed, at)


def exchange(file):
    clusters = list(holes_left_out(file))
    for (a, first), (b, second) in zip(clusters[::2], clusters[1::2]):
        os.pwrite(file.fileno(), second, a)
        os.pwrite(file.fileno(), first, b)


def cut(file):
    os.ftruncate(file.fileno(), 8192)


def tampered(case, change, said):
    running = Running(case)
    with running.swap() as file:
        change(file)
        os.fsync(file.fileno())
    expect(case, running, change.__name__, said)


def expect(case, running, what, said):
    status, told, out = running.end()
    case.check(status == 125 and told.count("quire:") == 1 and out == b"" and
               "did not come back intact from the swap file" in told and said in told,
               f"{what}: ended with {status}, the program said {out!r} and Quire {told!r}")


def replayed(case):
    """The file as it was when the same clusters had other pages."""
    running = Running(case, "again")
    with running.swap() as file:
        older = list(holes_left_out(file))
        running.go_on()
        running.wait_filled()
        for at, cluster in older:
            os.pwrite(file.fileno(), cluster, at)
        os.fsync(file.fileno())
    expect(case, running, "replayed", "it is not what was written there")


def mapping(pid, name):
    """The lines of smaps on the mapping of that name."""
    text = pathlib.Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8", errors="replace")
    found = re.findall(rf"(?m)^[0-9a-f]+-[0-9a-f]+ (?:(?!^[0-9a-f]+-).)*?{re.escape(name)}"
                       rf"(?:(?!^[0-9a-f]+-[0-9a-f]+ )[\s\S])*", text)
    return found[0] if len(found) == 1 else ""


def resident_memory(pid):
    """What the process has in RAM, but for the page with the key, in pieces."""
    for line in pathlib.Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines():
        fields = line.split()
        first, end = (int(word, 16) for word in fields[0].split("-"))
        if "r" not in fields[1] or "quire-key" in line or "[v" in line:
            continue
        end = min(end, first + 64 * MIB)  # of the arena: it is filled from its start
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory, \
                open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pages:
            present = os.pread(pages.fileno(), (end - first) // mmap.PAGESIZE * 8,
                               first // mmap.PAGESIZE * 8)
            for i in range(len(present) // 8):
                if present[i * 8 + 7] & 0x80:
                    try:
                        yield os.pread(memory.fileno(), mmap.PAGESIZE, first + i * mmap.PAGESIZE)
                    except OSError:
                        pass


def unchanged(case):
    """What somebody sees who has the disk; and the key is nowhere but where it should be."""
    running = Running(case)
    key_path = running.descriptor("quire-key")
    with running.swap() as file, open(key_path, "rb") as key_file:
        status = os.fstat(file.fileno())
        case.check(status.st_mode & 0o777 == 0o600 and status.st_nlink == 0,
                   f"the file's mode is {status.st_mode:o}, it has {status.st_nlink} names")
        page = key_file.read(4096)
        keys = [page[KEY_AT:KEY_AT + 32], page[KEY_AT + 32:KEY_AT + KEY_BYTES]]
        case.check(all(len(set(key)) > 8 for key in keys) and not page[KEY_AT + 64:].strip(b"\0"),
                   "the keys do not lie where this test looks for them")
        n_written = 0
        for at, cluster in holes_left_out(file):
            n_written += 1
            case.check(MARKER not in cluster, f"the program's data is in clear at {at}")
            case.check(not any(key in cluster for key in keys), f"a key is in the file at {at}")
        case.check(n_written > 20, f"only {n_written} clusters were written")
    environment = pathlib.Path(f"/proc/{running.program}/environ").read_bytes()
    case.check(not any(key in environment for key in keys), "a key is in the environment")
    n_pages = 0
    for memory in resident_memory(running.program):
        n_pages += 1
        case.check(not any(key in memory for key in keys), "a key is in the program's memory")
    case.check(n_pages > BUDGET // mmap.PAGESIZE // 2, f"only {n_pages} pages were looked at")
    held, used = mapping(running.keeper, "quire-key"), mapping(running.program, "quire-key")
    case.check(re.search(r"Locked: +[1-9]", held) and re.search(r"VmFlags:.* lo\b", held) and
               " dd" in held, f"the keeper has not locked the key:\n{held}")
    case.check(" r--s " in used.splitlines()[0] and " dd" in used,
               f"the program's mapping of the key:\n{used}")
    try:
        os.truncate(key_path, 0)
        raise AssertionError("the key can be cut off")
    except PermissionError:
        pass
    status, told, out = running.end()
    case.check((status, told, out) == (0, "", b"OK\n"),
               f"unchanged: ended with {status}, {told!r}, {out!r}")


def test(case):
    unchanged(case)
    tampered(case, flip, "it is not what was written there")
    tampered(case, exchange, "it is not what was written there")
    tampered(case, cut, "I/O error")
    replayed(case)
    print(f"{case.name}: nothing in clear; flipped, exchanged, replayed, cut off: noticed")

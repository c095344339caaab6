# SPDX-License-Identifier: Apache-2.0
"""Budget and swap both full: an error where one is possible, else one message and 125.

Never wrong data, never a hang. And a swap file that the disk has no room for falls back to RAM.
"""
import os
import subprocess

from harness import MIB

BUDGET = 48 * MIB

PYTHON = """
import os
blocks = []
try:
    while len(blocks) < 400:
        blocks.append(os.urandom(1 << 20))
except MemoryError:
    print("MemoryError")
assert len({hash(block) for block in blocks}) == len(blocks)
"""

MIXED = """
import os
blocks = [os.urandom(20000) if i % 10 == 0 else bytes([i & 7]) * 20000 for i in range(7000)]
assert all(block == bytes([i & 7]) * 20000 for i, block in enumerate(blocks) if i % 10)
"""


def expect_end(case, argv, extra, what):
    """Runs what can't fit; it is told so, in one of the two ways."""
    run = case.under(argv, BUDGET, extra=extra)
    status = run.measured.status
    told = run.stderr.decode(errors="replace")
    if status == 125:
        case.check(told.count("quire:") == 1, f"{what}: not one message, but: {told!r}")
    else:
        case.check(status == 3 or b"MemoryError" in run.stdout,
                   f"{what}: ended with {status}\n    {run.tail()}")
    case.check(b"wrong:" not in run.stdout, f"{what}: {run.stdout!r}")
    case.check_bound(run)
    case.check_clean(run)
    print(f"{case.name}: {what}: status {status} after {run.measured.wall_seconds:.1f} s: "
          f"{(told or run.stdout.decode()).strip()}")


def expect_success(case, argv, extra, what):
    """The same limits, and data that does fit."""
    run = case.under(argv, BUDGET, extra=extra)
    case.check(run.measured.status == 0, f"{what}: ended with {run.measured.status}\n"
               f"    {run.tail()}")
    case.check_bound(run)


def test(case):
    noise = case.helper("noise")
    python = [case.python(), "-c", PYTHON]
    expect_success(case, [noise, "20"], ["--swap", "none"], "20 MiB without swap")
    expect_end(case, [noise, "300"], ["--swap", "none"], "noise without swap")
    expect_success(case, [case.helper("phases"), "50"], ["--swap", "none"],
                   "noise where freed memory is, without swap")
    expect_success(case, [case.python(), "-c", MIXED], ["--swap", "none"],
                   "noise here and there, without swap")
    expect_end(case, python, ["--swap", "none"], "python without swap")
    expect_success(case, [noise, "70"], ["--swap-max", "64M"], "70 MiB with 64 MiB of swap")
    expect_end(case, [noise, "300"], ["--swap-max", "64M"], "noise with 64 MiB of swap")
    full_disk(case, noise)


def full_disk(case, noise):
    """A file system of 40 MiB that is filled up by somebody else once the run has started."""
    if os.geteuid() != 0:
        print(f"{case.name}: not root: nothing said of a full disk")
        return
    mount = case.directory / "disk"
    mount.mkdir()
    image = case.directory / "image"
    with open(image, "wb") as file:
        file.truncate(40 * MIB)
    for command in (["mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", image],
                    ["mount", "-o", "loop", image, mount]):
        try:
            done = subprocess.run(command, capture_output=True, check=False).returncode == 0
        except FileNotFoundError:
            done = False
        if not done:
            print(f"{case.name}: {command[0]} does not work here: nothing said of a full disk")
            return
    # The launcher refuses a disk that is too small, so the program itself fills it up.
    def while_full(size_mib):
        (mount / "full").unlink(missing_ok=True)
        return ["sh", "-c", f"head -c 100M /dev/zero >{mount}/full 2>&-; exec {noise} {size_mib}"]

    extra = ["--swap", str(mount), "--swap-max", "32M"]
    try:
        expect_end(case, while_full(300), extra, "a full disk")
        # What the disk does not take stays in RAM, and all of it is right.
        expect_success(case, while_full(36), extra, "36 MiB with a full disk")
    finally:
        subprocess.run(["umount", "-l", mount], check=False)

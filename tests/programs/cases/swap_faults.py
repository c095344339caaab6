# SPDX-License-Identifier: Apache-2.0
"""The disk under the swap file fails in every way that a disk can.

After each: the program's data is intact, or the run has ended with one message and 125; in time, and
with nothing left behind. The faults are injected into the library's own system calls
(faulty/inject.c); a directory that is removed, and a file system that is full, are real.
"""
import errno
import os
import pathlib
import subprocess

from harness import MIB

BUDGET, SIZE_MIB = 8 * MIB, 10
FITS_MIB = 4
ALWAYS = 1000000

# name: (what faulty/inject.c is told, MiB of data, what Quire has to say, or None: all goes well)
FAULTS = {
    "a full disk from the start": (f"write 1 {ALWAYS} {errno.ENOSPC}", SIZE_MIB, "out of room"),
    "a full disk, later": (f"write 4 {ALWAYS} {errno.ENOSPC}", SIZE_MIB, "out of room"),
    "a full disk, and room in RAM": (f"write 1 {ALWAYS} {errno.ENOSPC}", FITS_MIB, None),
    "a broken disk": (f"write 2 {ALWAYS} {errno.EIO}", SIZE_MIB, "out of room"),
    "a first block that can't be read": (f"read 1 1 {errno.EIO}", SIZE_MIB, "(I/O error)"),
    "blocks that can't be read": (f"read 9 {ALWAYS} {errno.EIO}", SIZE_MIB, "(I/O error)"),
    "a kernel without memory for long": (f"read 3 {ALWAYS} {errno.ENOMEM}", SIZE_MIB,
                                         "(I/O error)"),
    "a kernel without memory for a moment": (
        f"read 2 20 {errno.ENOMEM}; write 2 1 {errno.ENOMEM}", SIZE_MIB, None),
    "a kernel without memory to write for a moment": (f"write 4 3 {errno.ENOMEM}", 2 * SIZE_MIB,
                                                      None),
    "calls that are interrupted": (f"read 2 9 {errno.EINTR}; write 2 9 {errno.EINTR}", SIZE_MIB,
                                   None),
    "short reads and writes": ("read 1 30 0 0 1; write 1 9 0 0 1", SIZE_MIB, None),
    "a disk that stalls": ("read 4 1 0 1000; write 3 1 0 1000", SIZE_MIB, None),
}


def expect(case, run, said, what):
    status, told = run.measured.status, run.stderr.decode(errors="replace")
    if said is None:
        case.check(status == 0 and run.stdout == b"OK\n", f"{what}: ended with {status}\n"
                   f"    {run.tail()}")
    else:
        case.check(status == 125 and told.count("quire:") == 1 and said in told,
                   f"{what}: ended with {status} and said {told!r}")
    case.check(b"wrong" not in run.stdout + run.stderr, f"{what}: {run.stdout!r}")
    case.check_clean(run)


def test(case):
    injected(case)
    removed(case)
    full(case)


def injected(case):
    usual, case.quire = case.quire, str(case.helpers / "faulty" / "quire")
    noise = case.helper("noise")
    for what, (fault, size_mib, said) in FAULTS.items():
        run = case.under([noise, size_mib], BUDGET, env={**os.environ, "QUIRE_TEST_FAULT": fault})
        expect(case, run, said, what)
        print(f"{case.name}: {what}: {run.measured.status} in {run.measured.wall_seconds:.1f} s")
        if size_mib > FITS_MIB and said is None:
            case.check(run.stats["faults"]["file"] > 0, f"{what}: nothing was read from the file")
    case.quire = usual


def removed(case):
    """The file has no name: the directory is empty, and may go."""
    directory = case.directory / "removed"
    directory.mkdir()
    run = case.under(["sh", "-c", f"rmdir {directory} && exec {case.helper('noise')} {SIZE_MIB}"],
                     BUDGET, extra=["--swap", str(directory)])
    expect(case, run, None, "a directory that is removed")
    case.check(run.stats["faults"]["file"] > 0 and not directory.exists(),
               "a directory that is removed: nothing was read from the file")


def full(case):
    """A file system in RAM, with no byte left: refused, as any in RAM."""
    mount = pathlib.Path(case.directory / "full")
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", mount],
                      capture_output=True, check=False).returncode:
        print(f"{case.name}: no file system can be mounted here: nothing said of a full one")
        return
    try:
        with open(mount / "filling", "wb") as file:
            try:
                file.write(bytes(MIB))
                file.flush()
            except OSError:
                pass
        run = case.under([case.helper("noise"), FITS_MIB], BUDGET, extra=["--swap", str(mount)])
        expect(case, run, "keeps files in RAM", "a full file system in RAM")
    finally:
        (mount / "filling").unlink(missing_ok=True)
        subprocess.run(["umount", "-l", mount], check=False)

# SPDX-License-Identifier: Apache-2.0
"""What the tests of commands that show memory have in common: asking, and waiting for the answer.

Takes the first two arguments of who imports it: the command, and the root of the sources.
"""
import fcntl
import json
import os
import shutil
import struct
import subprocess
import sys
import termios
import time

QUIRE, ROOT = os.path.abspath(sys.argv.pop(1)), os.path.abspath(sys.argv.pop(1))
MACHINES = os.path.join(ROOT, "tests/observe/machines")
NUMA, SWAP, SMALL, ZRAM, CGROUP1 = (
    os.path.join(MACHINES, name) for name in
    ("4.15-numa", "5.10-swap", "5.14-small", "6.1-zram-cgroup2", "6.18-cgroup1"))
PATIENCE_SECONDS = 300
AS_NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]


def call(*arguments, before=(), **options):
    options = {"text": True, **options}
    return subprocess.run([*before, QUIRE, *arguments], capture_output=True, check=False,
                          stdin=subprocess.DEVNULL, timeout=PATIENCE_SECONDS, **options)


def output(*arguments, **options):
    result = call(*arguments, **options)
    if result.returncode != 0 or result.stderr:
        raise AssertionError(result)
    return result.stdout


def figures(*arguments, **options):
    return json.loads(output(*arguments, "--json", **options))


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def until(look):
    """The first true value of look(), which is asked for as long as it takes."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not (value := look()):
        if time.monotonic() > end:
            raise AssertionError("it never came to that")
        time.sleep(0.02)
    return value


def keys_of(value):
    if isinstance(value, dict):
        return set(value).union(*(keys_of(each) for each in value.values()))
    return set().union(*(keys_of(each) for each in value)) if isinstance(value, list) else set()


def on_a_terminal(width, *arguments, with_errors=False):
    """The lines that a command prints on a terminal of so many columns."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    child = subprocess.Popen([QUIRE, *arguments], stdout=theirs, stdin=subprocess.DEVNULL,
                             stderr=theirs if with_errors else None)
    os.close(theirs)
    text = b""
    try:
        while piece := os.read(ours, 65536):
            text += piece
    except OSError: # the other end is closed
        pass
    os.close(ours)
    child.wait(PATIENCE_SECONDS)
    return text.decode().replace("\r", "").splitlines()


def may_unshare():
    return os.geteuid() == 0 and shutil.which("unshare") and subprocess.run(
        ["unshare", "--pid", "--mount", "--fork", "true"], capture_output=True,
        check=False).returncode == 0


def may_be_run_by_others():
    return os.geteuid() == 0 and shutil.which("setpriv") and subprocess.run(
        [*AS_NOBODY, QUIRE, "--version"], capture_output=True, check=False).returncode == 0

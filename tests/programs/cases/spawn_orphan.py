# SPDX-License-Identifier: Apache-2.0
"""A program spawns another and ends at once: the child still joins the run, and is in its budget."""
from harness import MIB

ROUNDS = 5

# posix_spawn, and a vfork child that executes (subprocess); both with the program gone at once.
PROGRAMS = {
    "posix_spawn": "import os, sys; os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ); "
                   "os._exit(0)",
    "vfork": "import os, subprocess, sys; subprocess.Popen(sys.argv[1:]); os._exit(0)",
}

# Maps the block that all processes of a run share, or does not.
CHILD = "echo $(grep -c quire-control /proc/$$/maps) >result.new; mv result.new result"


def test(case):
    for name, program in PROGRAMS.items():
        for _ in range(ROUNDS):
            argv = [case.python(), "-c", program, "/bin/bash", "-c", CHILD]
            run = case.under(argv, 64 * MIB)
            case.check(run.measured.status == 0,
                       f"{name}: ended with {run.measured.status}\n    {run.tail()}")
            result = run.directory / "result"
            case.check(result.exists() and result.read_text() == "1\n",
                       f"{name}: the child was not in the run: "
                       f"{result.read_text() if result.exists() else 'no result'!r}")
            case.check_clean(run)
    print(f"{case.name}: {len(PROGRAMS)} ways, {ROUNDS} times each")

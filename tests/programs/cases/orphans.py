# SPDX-License-Identifier: Apache-2.0
"""A shell ends at once; the program it has left in the background goes on, paged, and is right. Out
of room, it ends with a message that goes where its own messages go."""
from harness import MIB


def test(case):
    worker = case.helper("noise")
    argv = ["sh", "-c", f"{worker} 40 >result 2>&1 & exit 6"]
    plain = case.plain(argv)
    case.check(plain.measured.status == 6, f"ends plainly with {plain.measured.status}")
    run = case.under(argv, 16 * MIB)
    case.check(run.measured.status == 6, f"ended with {run.measured.status}\n    {run.tail()}")
    case.check((plain.directory / "result").read_text() == "OK\n", "fails plainly")
    result = (run.directory / "result").read_text()
    case.check(result == "OK\n", f"the program left behind says {result!r}")
    case.check_clean(run)
    run = case.under(argv, 16 * MIB, extra=["--swap", "none"])
    result = (run.directory / "result").read_text()
    case.check(result.count("quire:") == 1 and "out of room" in result and "OK" not in result,
               f"out of room, the program left behind says {result!r}")
    case.check_clean(run)

# SPDX-License-Identifier: Apache-2.0
"""CPython's own tests, run plainly and under Quire: what passes plainly must pass paged.

Some of them look at the clock. They get a long time to wait for something, and what did not pass is
run once more by itself, and must pass then.

The interpreter first fills some memory of its own that stays alive and is never looked at again
(half of it random, in objects so large that the collector does not wander through them), and that
its forks inherit. Together with the test's own memory, and that of
the interpreters it starts, it is several times the budget.
"""
import xml.etree.ElementTree

from harness import MIB

BALLAST_MIB = 120
LEAST_BUDGET_MIB = 48

RUN = f"""
import os, test.libregrtest, test.support
for name in "LOOPBACK_TIMEOUT", "SHORT_TIMEOUT", "LONG_TIMEOUT":
    setattr(test.support, name, 300.0)
ballast = [os.urandom(1 << 19) + bytes(1 << 19) for _ in range({BALLAST_MIB})]
test.libregrtest.main()
"""


def outcomes(path):
    """{name: passed | failed | skipped} of a JUnit file."""
    found = {}
    for test in xml.etree.ElementTree.parse(path).iter("testcase"):
        bad = test.find("failure") is not None or test.find("error") is not None
        found[test.get("name")] = ("failed" if bad else
                                   "skipped" if test.find("skipped") is not None else "passed")
    return found


def run_again(case, argv, modules, names, budget):
    """The outcomes of single tests, run without the others."""
    print(f"{case.name}: once more: {' '.join(names)}")
    for name in names:
        argv = [*argv, "-m", name]
    run = case.under([*argv, *modules], budget)
    results = run.directory / "results.xml"
    return outcomes(results) if results.exists() else {}


def compare(case, modules, only=(), leave_out=()):
    """Runs test modules; `only` and `leave_out` are regrtest's patterns for tests."""
    python = case.python()
    probe = case.plain([python, "-c", "import test.test_mmap"])
    if probe.measured.status:
        case.skip("CPython's tests are not installed (libpython3.*-testsuite)")
    start = [python, "-c", RUN, "--junit-xml", "results.xml"]
    argv = list(start)
    for pattern in only:
        argv += ["-m", pattern]
    for pattern in leave_out:
        argv += ["-i", pattern]
    argv += modules

    plain = case.plain(argv)
    wanted = outcomes(plain.directory / "results.xml")
    # Some start dozens of processes: a third is more then.
    run = case.under(argv, max(LEAST_BUDGET_MIB * MIB, case.third(plain)))
    results = run.directory / "results.xml"
    case.check(results.exists(), f"ended with {run.measured.status} and left no results\n"
               f"    {run.tail()}")
    got = outcomes(results)
    doubtful = [name for name, outcome in wanted.items()
                if outcome == "passed" and got.get(name, "passed") != "passed"]
    if doubtful:
        got.update(run_again(case, start, modules, doubtful, run.budget_bytes))
    n_passed = 0
    for name, outcome in wanted.items():
        if outcome != "passed":
            continue
        n_passed += 1
        case.check(got.get(name) == "passed",
                   f"{name} passes plainly, {got.get(name, 'did not run')} under Quire\n"
                   f"    {run.tail()}")
    case.check(n_passed >= 5, f"only {n_passed} tests pass plainly: this proves nothing")
    case.check_paged(run)
    case.check_bound(run)
    case.check_clean(run)
    print(f"{case.name}: {n_passed} tests of CPython's")
    case.report(plain, run)

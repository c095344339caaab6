# SPDX-License-Identifier: Apache-2.0
"""Every way to end: the status, and what atexit and other threads still did, are the plain ones."""
import harness

STATUS = {"exit": 21, "_exit": 22, "pthread_exit": 23, "thread": 24, "exec": 25,
          "abort": 134, "segv": 139, "kill": 137, "term": 143}


def test(case):
    for mode, status in STATUS.items():
        argv = [case.helper("ending"), mode, "80"]
        plain = case.plain(argv)
        case.check(plain.measured.status == status,
                   f"{mode}: ends plainly with {plain.measured.status}\n    {plain.tail()}")
        run = case.under(argv, 24 * harness.MIB)
        case.check(run.measured.status == status and not run.measured.signal,
                   f"{mode}: ended with {run.measured.status}, plainly {status}\n    {run.tail()}")
        case.check_same(plain, run)
        case.check_paged(run)
        case.check_clean(run)
    print(f"{case.name}: {len(STATUS)} ways to end")

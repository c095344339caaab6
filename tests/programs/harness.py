# SPDX-License-Identifier: Apache-2.0
"""What the tests of suite `programs` share: a program run plainly, then in less RAM, compared.

A case is a module in cases/ with `def test(case)`; `case` is a Case. A failed check raises Failure,
a missing program Skip. Case.compare() is the usual whole: it checks that

  1. standard output, standard error, named output files and exit status are the same bytes;
  2. the run paged: faults and evictions are not 0;
  3. seen from outside, the tree's anonymous memory stayed under the budget, plus what Quire says
     it does not manage, plus a grace of 8 MiB;
  4. so did what Quire itself counts, but for pages under way (1 MiB);
  5. no process outlives the run, and nothing hangs.
"""
import dataclasses
import filecmp
import json
import os
import pathlib
import shutil
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))
import measure  # noqa: E402

# A test runner's setting that makes the plain run's malloc touch all that it gives, and so the
# budget much too large for the run that is compared.
os.environ.pop("MALLOC_PERTURB_", None)

MIB = 1 << 20
GRACE_BYTES = 8 * MIB
UNDER_WAY_BYTES = 4 * MIB  # faults and packing under way, which have not yet made their room
MIN_BUDGET_BYTES = 16 * MIB
# A program that runs for longer has hung: none takes a minute, and no machine is ten times slower.
# The time-out of the test's own runner (meson.build) is far beyond two of these.
PATIENCE_SECONDS = 600.0
GRACE_SECONDS = 300.0  # to processes that outlive the command; then they were left behind
ENOUGH_SAMPLES = 5  # of a program's memory, to believe their peak
MOST_PLAIN_RUNS = 10


class Failure(Exception):
    """What was checked did not hold."""


class Skip(Exception):
    """What the test needs is not on this machine."""


@dataclasses.dataclass
class Run:
    """One run of a program: what it left, and what it was seen to do."""
    name: str
    directory: pathlib.Path  # its working directory, empty before
    measured: measure.Measured
    budget_bytes: int = 0    # 0: a plain run
    stats: dict = dataclasses.field(default_factory=dict)

    @property
    def stdout(self):
        return (self.directory.parent / f"{self.name}.stdout").read_bytes()

    @property
    def stderr(self):
        return (self.directory.parent / f"{self.name}.stderr").read_bytes()

    def tail(self):
        """The end of what it wrote, for a message."""
        text = (self.stdout[-1500:] + b"\n" + self.stderr[-1500:]).decode(errors="replace").strip()
        return "\n    ".join(text.splitlines()[-25:])


class Case:
    """The tools a case works with, and the directory it works in."""

    def __init__(self, name, quire, helpers):
        self.name = name
        self.quire = str(pathlib.Path(quire).resolve())
        self.helpers = pathlib.Path(helpers).resolve()
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix=f"quire-{name}-"))
        self.n_runs = 0

    def close(self):
        shutil.rmtree(self.directory, ignore_errors=True)

    # What a case needs

    def need(self, *names):
        """The path of the first of these programs that is here; skips without any."""
        for name in names:
            path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
            if path:
                return path
        raise Skip(f"{names[0]} is not installed")

    def python(self):
        """The distribution's interpreter, whatever else may be in PATH."""
        return "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable

    def helper(self, name):
        path = self.helpers / f"program_{name}"
        if not path.exists():
            raise Failure(f"{path} was not built")
        return str(path)

    def file(self, name, content=None):
        """A file of the case, outside the runs' directories; written where content is given."""
        path = self.directory / name
        if content is not None:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    def check(self, condition, message):
        if not condition:
            raise Failure(message)

    def skip(self, reason):
        raise Skip(reason)

    # Runs

    def run(self, name, argv, stdin=None, **options):
        """Runs argv in an empty directory of its own, output into files beside it."""
        self.n_runs += 1
        name = f"{self.n_runs}-{name}"
        directory = self.directory / name
        directory.mkdir()
        with open(stdin or os.devnull, "rb") as source, \
                open(self.directory / f"{name}.stdout", "wb") as out, \
                open(self.directory / f"{name}.stderr", "wb") as err:
            measured = measure.run([str(word) for word in argv], timeout=PATIENCE_SECONDS,
                                   grace=GRACE_SECONDS, stdin=source, stdout=out, stderr=err,
                                   cwd=directory, **options)
        result = Run(name, directory, measured)
        if measured.timed_out:
            raise Failure(f"{name}: still running after {PATIENCE_SECONDS:.0f} s, stopped\n"
                          f"    {result.tail()}")
        return result

    def plain(self, argv, **options):
        return self.run("plain", argv, **options)

    def measured_plain(self, argv, **options):
        """A plain run, again and again until its memory was seen often enough, and needed enough:
        on a fast machine it may be over, on a busy one the sampler gets few turns."""
        run = self.plain(argv, **options)
        for _ in range(MOST_PLAIN_RUNS - 1):
            seen = run.measured
            if seen.status or (seen.n_samples >= ENOUGH_SAMPLES and
                               seen.peak_anon_bytes >= 3 * MIN_BUDGET_BYTES):
                break
            before, run = run, self.plain(argv, **options)
            run.measured.n_samples += before.measured.n_samples
            run.measured.peak_anon_bytes = max(run.measured.peak_anon_bytes,
                                               before.measured.peak_anon_bytes)
        return run

    def quire_argv(self, argv, ram_bytes, stats, extra=()):
        return [self.quire, "run", "--ram", str(ram_bytes), "--quiet", "--stats", str(stats),
                *extra, "--", *argv]

    def under(self, argv, ram_bytes, extra=(), **options):
        """Runs argv under `quire run` with this budget, and reads the statistics."""
        stats = self.directory / f"{self.n_runs + 1}-stats.json"
        result = self.run("quire", self.quire_argv(argv, ram_bytes, stats, extra), **options)
        result.budget_bytes = ram_bytes
        if stats.exists():
            result.stats = json.loads(stats.read_text())
        return result

    def third(self, plain, share=3):
        """A budget of that share of what the plain run needed, whole MiB."""
        need = plain.measured.peak_anon_bytes
        self.check(plain.measured.n_samples >= ENOUGH_SAMPLES,
                   "the plain run was too short to be measured")
        budget = need // share // MIB * MIB
        self.check(budget >= MIN_BUDGET_BYTES,
                   f"the plain run needs only {need / MIB:.1f} MiB: too little for this test")
        return budget

    # Checks

    def check_clean(self, run):
        self.check(not run.measured.left_over,
                   f"{run.name}: left processes behind: {run.measured.left_over}")

    def check_paged(self, run):
        """2: a run that evicted nothing proves nothing."""
        self.check(run.stats, f"{run.name}: wrote no statistics")
        self.check(n_faults(run) > 0 and run.stats["evictions"] > 0,
                   f"{run.name}: nothing was paged: {n_faults(run)} faults, "
                   f"{run.stats['evictions']} evictions")

    def check_bound(self, run):
        """3 and 4: the budget holds."""
        unmanaged = run.stats.get("unmanaged_rss_bytes", 0)
        seen = run.measured.peak_anon_bytes
        limit = run.budget_bytes + unmanaged + GRACE_BYTES
        self.check(seen <= limit,
                   f"{run.name}: {seen / MIB:.1f} MiB of anonymous memory seen from outside; "
                   f"allowed are {run.budget_bytes / MIB:.1f} + {unmanaged / MIB:.1f} unmanaged "
                   f"+ {GRACE_BYTES / MIB:.0f} MiB")
        if run.stats.get("processes", 1) > 1:
            return  # it counts some of what is shared twice for moments; what is seen decides
        held = run.stats.get("peak_held_bytes", 0)
        self.check(0 < held <= run.budget_bytes + UNDER_WAY_BYTES,
                   f"{run.name}: Quire counts a peak of {held / MIB:.1f} MiB held, "
                   f"the budget is {run.budget_bytes / MIB:.1f} MiB")

    def check_same(self, plain, run, outputs=(), stderr=True):
        """1: the same to the byte."""
        self.check(plain.measured.status == run.measured.status,
                   f"exit status {run.measured.status}, plainly {plain.measured.status}\n"
                   f"    {run.tail()}")
        self.check(run.stats.get("exit_status", run.measured.status) == run.measured.status,
                   f"the statistics say exit status {run.stats.get('exit_status')}, "
                   f"it was {run.measured.status}")
        for stream in ("stdout", "stderr") if stderr else ("stdout",):
            a, b = getattr(plain, stream), getattr(run, stream)
            if a != b:
                raise Failure(f"{stream} differs from the plain run's\n"
                              f"    {first_difference(a, b)}")
        for name in outputs:
            self.check(filecmp.cmp(plain.directory / name, run.directory / name, shallow=False),
                       f"{name} differs from the plain run's")

    def compare(self, argv, outputs=(), share=3, stderr=True, status=0, extra=(), **options):
        """The usual case: plainly, then at a third, and all checks. Returns both runs."""
        plain = self.measured_plain(argv, **options)
        self.check(plain.measured.status == status,
                   f"the plain run ended with {plain.measured.status}\n    {plain.tail()}")
        run = self.under(argv, self.third(plain, share), extra=extra, **options)
        self.check_same(plain, run, outputs, stderr)
        self.check_paged(run)
        self.check_bound(run)
        self.check_clean(run)
        self.report(plain, run)
        return plain, run

    @staticmethod
    def excess(run):
        """What was seen beyond what the bound allows without any grace."""
        return (run.measured.peak_anon_bytes - run.budget_bytes
                - run.stats.get("unmanaged_rss_bytes", 0))

    def report(self, plain, run):
        print(f"{self.name}: needs {plain.measured.peak_anon_bytes / MIB:.0f} MiB, "
              f"had {run.budget_bytes / MIB:.0f}, seen {run.measured.peak_anon_bytes / MIB:.0f}; "
              f"({self.excess(run) / MIB:+.1f} to budget and unmanaged); "
              f"{plain.measured.wall_seconds:.1f} s plainly, {run.measured.wall_seconds:.1f} s "
              f"paged; {n_faults(run)} faults, {run.stats['evictions']} evictions")


def n_faults(run):
    faults = run.stats.get("faults", 0)
    return sum(faults.values()) if isinstance(faults, dict) else faults


def first_difference(a, b):
    """Where two outputs part, with what is around it."""
    at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    return (f"at byte {at} of {len(a)} and {len(b)}: plainly {a[max(0, at - 20):at + 100]!r}, "
            f"under Quire {b[max(0, at - 20):at + 300]!r}")

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The time line of `quire run --stats`, and `quire report` as a user and a browser meet it.

Usage: report.py QUIRE SOURCE_ROOT [unittest's arguments]
"""
import copy
import html
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import unittest

QUIRE, ROOT = os.path.abspath(sys.argv.pop(1)), os.path.abspath(sys.argv.pop(1))
PATIENCE_SECONDS = 300  # what takes longer has hung
MIB = 1 << 20
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

# More than the budget, touched over and over; an eighth of each page is noise. It waits until each
# eighth of it has been sampled, by the launcher, which sleeps once between two samples.
PROGRAM = """
import os, random, re, time

def naps():
    with open(f"/proc/{os.getppid()}/status") as status:
        return int(re.search(r"\\nvoluntary_ctxt_switches:\\s+(\\d+)", status.read())[1])

def wait_for_samples():
    enough = naps() + 3
    while naps() < enough:
        time.sleep(0.01)

wait_for_samples()
begun = time.monotonic()
noise = [random.Random(i).randbytes(512) + bytes(3584) for i in range(16)]
rows = bytearray(48 << 20)
for at in range(0, len(rows), 4096):
    rows[at:at + 4096] = noise[at // 4096 % 16]
    if at % (6 << 20) == (6 << 20) - 4096:
        wait_for_samples()
for _ in range(2):
    for at in range(0, len(rows), 4096):
        rows[at] ^= 1
print(time.monotonic() - begun)
"""
NAME = "<script>alert(1)</script> & \"quoted\""


def call(*arguments, **options):
    if "input" not in options:
        options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run([QUIRE, *arguments], capture_output=True, check=False,
                          **{"text": True, "timeout": PATIENCE_SECONDS, **options})


class WithRun(unittest.TestCase):
    """One paged run, whose figures all tests look at."""
    figures = None

    @classmethod
    def setUpClass(cls):
        if WithRun.figures is not None:
            return
        with tempfile.NamedTemporaryFile() as stats:
            result = call("run", "-q", "--ram", "16M", "--swap", "none", "--stats", stats.name,
                          "/usr/bin/python3", "-c", PROGRAM, NAME)
            if result.returncode != 0:
                raise AssertionError(result)
            with open(stats.name, encoding="utf-8") as file:  # it was replaced
                WithRun.figures = json.load(file)
            WithRun.least_seconds = float(result.stdout)

    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="quire-report-")
        self.addCleanup(shutil.rmtree, self.directory)
        self.stats, self.page = self.path("run.json"), self.path("run.html")
        self.write(self.figures)

    def path(self, name):
        return os.path.join(self.directory, name)

    def write(self, figures):
        with open(self.stats, "w", encoding="utf-8") as file:
            file.write(figures if isinstance(figures, str) else json.dumps(figures))

    def report(self, figures=None):
        if figures is not None:
            self.write(figures)
        result = call("report", self.stats, "-o", self.page)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))
        with open(self.page, encoding="utf-8") as file:
            return file.read()


class Timeline(WithRun):
    def column(self, name):
        return self.figures["timeline"][name]

    def test_it_is_as_long_as_the_run(self):
        seconds = self.column("seconds")
        self.assertEqual(seconds, sorted(set(seconds)))
        self.assertGreater(len(seconds), 3)
        self.assertLess(len(seconds), 1024)
        self.assertGreaterEqual(seconds[-1], self.least_seconds)
        self.assertLessEqual(seconds[-1], self.figures["wall_seconds"])
        for name, values in self.figures["timeline"].items():
            if isinstance(values, list) and name != "heat":
                self.assertEqual(len(values), len(seconds), name)

    def test_sums_end_where_the_summary_does(self):
        for name in ("evictions", "prefetched_pages", "dropped_dead_pages", "same_filled_pages",
                     "written_pages", "waits_for_room"):
            self.assertEqual(self.column(name)[-1], self.figures[name], name)
        for kind, n_faults in self.figures["faults"].items():
            self.assertEqual(self.column("faults_" + kind)[-1], n_faults, kind)
        self.assertEqual(self.column("packed_pages")[-1], self.figures["compressed_pages"])
        self.assertEqual(self.column("fault_wait_ns")[-1], self.figures["fault_wait"]["total_ns"])
        for name in ("evictions", "faults_ram", "packed_bytes", "fault_wait_ns"):
            self.assertEqual(self.column(name), sorted(self.column(name)))
            self.assertGreater(self.column(name)[-1], 0)

    def test_gauges_are_within_the_peaks(self):
        for name in ("resident", "staged", "compressed", "metadata", "file"):
            self.assertLessEqual(max(self.column(name + "_bytes")),
                                 self.figures[f"peak_{name}_bytes"], name)
        self.assertGreater(max(self.column("resident_bytes")), 4 * MIB)
        self.assertEqual(self.column("resident_bytes")[-1], 0)  # it has ended
        self.assertEqual(max(self.column("processes")), 1)

    def test_what_it_would_have_needed(self):
        """The array, and some for the interpreter."""
        self.assertIn(self.figures["peak_needed_bytes"] // MIB, range(48, 80))
        self.assertGreater(max(self.column("stored_page_bytes")), 32 * MIB)

    def test_the_heat_is_where_the_array_is(self):
        zones = {zone["zone"]: zone for zone in self.column("heat")}
        self.assertEqual(set(zones), {"heap", "mappings"})
        if self.column("heat_problem") is not None:
            self.skipTest(self.column("heat_problem"))
        n_samples, n_seen, n_resident, n_faulted = len(self.column("seconds")), 0, 0, 0
        for zone in zones.values():
            self.assertEqual(len(zone["resident"]), len(zone["faults"]))
            self.assertLessEqual(len(zone["resident"]), 64)
            for row in zone["resident"]:
                self.assertRegex(row, rf"^[0-9]{{{n_samples}}}$")
            for row in zone["faults"]:
                self.assertRegex(row, rf"^[0-9a-z]{{{n_samples}}}$")
            resident = [row.strip("0") != "" for row in zone["resident"]]
            faulted = [row.strip("0") != "" for row in zone["faults"]]
            n_resident += zone["row_bytes"] * sum(resident)
            n_faulted += zone["row_bytes"] * sum(faulted)
            n_seen += zone["row_bytes"] * sum(map(max, resident, faulted))
        # All of the array has been seen where it was, but what came and went between two samples.
        self.assertGreaterEqual(n_seen, 48 * MIB)
        self.assertGreater(n_resident, 32 * MIB)
        self.assertGreaterEqual(n_faulted, 40 * MIB)

    def test_who_and_how(self):
        figures = self.figures
        self.assertEqual((figures["format"], figures["format_version"]), ("quire-run", 1))
        self.assertEqual(figures["command"][0], "/usr/bin/python3")
        self.assertEqual(figures["command"][-1], NAME)
        for name, value in {"ram": "16M", "swap": None, "swap_max": None, "codec": "auto",
                            "policy": "adaptive", "prefetch": "adaptive", "harden": False}.items():
            self.assertEqual(figures["options"][name], value, name)
        self.assertRegex(figures["started"], r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        process, = figures["process_list"]
        self.assertRegex(process["name"], "^python3")
        self.assertEqual(process["evictions"], figures["evictions"])
        self.assertGreater(process["peak_held_bytes"], 8 * MIB)

    def test_half_the_faults_are_below_p50(self):
        wait = self.figures["fault_wait"]
        self.assertLessEqual(wait["p50_ns"], wait["p99_ns"])
        bounds, counts = wait["histogram"]["upper_ns"], wait["histogram"]["faults"]
        below = sum(n for bound, n in zip(bounds, counts) if bound <= wait["p50_ns"])
        above = sum(n for bound, n in zip(bounds, counts) if bound >= wait["p50_ns"])
        self.assertGreaterEqual(2 * below, sum(counts))
        self.assertGreaterEqual(2 * above, sum(counts))

    def test_every_key_is_documented(self):
        with open(f"{ROOT}/docs/stats.md", encoding="utf-8") as file:
            text = file.read()

        def check(value):
            for key, its in value.items() if isinstance(value, dict) else ():
                self.assertIn(f"`{key}`", text)
                check(its[0] if isinstance(its, list) and its else its)
        check(self.figures)

    def test_bytes_that_are_no_text(self):
        stats = self.path("odd.json")
        call("run", "-q", "--ram", "16M", "--stats", stats, "true", b"a\xff\xc3")
        with open(stats, encoding="utf-8") as file:
            self.assertEqual(json.load(file)["command"], ["true", "a\ufffd\ufffd"])


class Page(WithRun):
    def card(self, page, name):
        return html.unescape(re.search(rf'<li id="{name}">.*?<b>(.*?)</b>', page)[1])

    def test_figures(self):
        page = self.report()
        self.assertEqual(self.card(page, "budget"), "16.0 MiB")
        self.assertEqual(self.card(page, "exit"), "0")
        self.assertRegex(self.card(page, "needed"), r"^\d\d\.\d MiB$")
        self.assertRegex(self.card(page, "ratio"), r"^\d+\.\d : 1$")
        figures = copy.deepcopy(self.figures)
        figures["wall_seconds"] = figures["fault_wait"]["total_ns"] / 1e9 * 8
        page = self.report(figures)
        self.assertEqual(self.card(page, "waiting"), "12 %")
        self.assertIn("The program waited 12 % of its time for pages", page)
        for name in ("memory", "pages", "rates", "stall", "evictions", "compression", "latency",
                     "heat", "processes", "options"):
            self.assertIn(f'id="{name}"', page)

    def words(self, **changes):
        figures = copy.deepcopy(self.figures)
        figures.update(changes)
        page = self.report(figures)
        return re.search(r'<ul class="words">(.*?)</ul>', page, re.S)[1]

    def test_what_is_said(self):
        wait_s = self.figures["fault_wait"]["total_ns"] / 1e9
        words = self.words(wall_seconds=wait_s / 0.8)
        self.assertIn("waited 80 % of its time", words)
        self.assertIn("it was thrashing", words)
        self.assertRegex(words, r"with <code>--ram \d\dM</code> nothing would be evicted")
        self.assertIn("2.5 of them at a time on average", self.words(wall_seconds=wait_s / 2.5))
        self.assertIn("hardly to be noticed", self.words(wall_seconds=wait_s / 0.01))
        self.assertNotIn("--ram", self.words(wall_seconds=wait_s / 0.01,
                                             timeline=self.quiet_timeline()))
        words = self.words(ended_by="out of <room>", exit_status=125)
        self.assertIn("Quire itself ended the run: <q>out of &lt;room&gt;</q>", words)
        self.assertIn("was ended by signal 11", self.words(exit_status=139))
        self.assertIn("Everything fitted", self.words(evictions=0))
        self.assertIn("ran outside of the budget", self.words(processes=0))

    def quiet_timeline(self):
        timeline = copy.deepcopy(self.figures["timeline"])
        timeline["fault_wait_ns"] = [0] * len(timeline["seconds"])
        return timeline

    def test_nothing_from_the_file_is_markup(self):
        figures = copy.deepcopy(self.figures)
        evil = "<img src=x onerror=alert(1)>\u202e\u0007'\""
        for holder, key in ((figures, "started"), (figures, "version"), (figures, "ended_by"),
                            (figures["timeline"], "heat_problem"),
                            (figures["process_list"][0], "name"),
                            (figures["timeline"]["heat"][0], "zone"),
                            (figures["options"], "swap"), (figures["machine"], "kernel"),
                            (figures["options"], evil)):
            holder[key] = evil
        figures["command"] = [evil, evil]
        page = self.report(figures)
        self.assertNotIn("<img", page)
        self.assertNotIn("\u202e", page)
        self.assertNotIn("\u0007", page)
        self.assertGreaterEqual(page.count("&lt;img src=x onerror=alert(1)&gt;\ufffd\ufffd&#39;&quot;"),
                                10)
        self.assertIn("default-src 'none'", page)

    def test_it_stands_alone(self):
        page = self.report()
        for sign in ("<script", "<link", "src=", "href", "url(", "@import", "http:", "https:"):
            self.assertNotIn(sign, page.replace(html.escape(NAME), ""), sign)

    def test_runs_of_no_length(self):
        for n_samples in (0, 1, 2):
            figures = copy.deepcopy(self.figures)
            timeline = figures["timeline"]
            for name, values in timeline.items():
                if isinstance(values, list) and name != "heat":
                    timeline[name] = values[:n_samples]
            for zone in timeline["heat"]:
                zone["resident"] = [row[:n_samples] for row in zone["resident"]]
                zone["faults"] = [row[:n_samples] for row in zone["faults"]]
            figures["wall_seconds"] = 0
            page = self.report(figures)
            self.assertEqual("too short for a time line" in page, n_samples < 2)
            self.assertIsNone(re.search(r"\bnan\b|\binf\b", page))

    def test_a_program_that_does_next_to_nothing(self):
        call("run", "-q", "--ram", "16M", "--stats", self.stats, "true")
        self.assertIn("Nothing was ever paged", self.report(None))

    def test_pipes(self):
        whole = self.report()
        with open(self.stats, encoding="utf-8") as file:
            result = call("report", "-", "-o", "-", stdin=file)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual(result.stdout, whole)

    def test_the_page_is_replaced_in_one_step(self):
        with open(self.page, "w", encoding="utf-8") as file:
            file.write("old")
        os.chmod(self.page, 0o640)
        os.symlink(self.page, self.path("link.html"))
        self.assertEqual(call("report", self.stats, "-o", self.path("link.html")).returncode, 0)
        self.assertTrue(os.path.islink(self.path("link.html")))
        self.assertEqual(stat.S_IMODE(os.stat(self.page).st_mode), 0o640)
        with open(self.page, encoding="utf-8") as file:
            self.assertTrue(file.read().endswith("</html>\n"))
        self.assertEqual(sorted(os.listdir(self.directory)), ["link.html", "run.html", "run.json"])


class GoesOn(unittest.TestCase):
    """A page of a run that has not ended, by what it publishes."""
    def setUp(self):
        program = "'<i>&'\n" + PROGRAM.replace("wait_for_samples()\n", "pass\n") + \
            "print('ready', flush=True)\n__import__('sys').stdin.read()"
        self.run_ = subprocess.Popen(
            [QUIRE, "run", "-q", "--ram", "16M", "--swap", "none", "/usr/bin/python3", "-c",
             program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(self.run_.wait)
        self.addCleanup(self.run_.kill)
        self.addCleanup(self.run_.stdin.close)
        self.addCleanup(self.run_.stdout.close)
        self.assertRegex(self.run_.stdout.readline(), rb"^[\d.e-]+\n$")
        self.assertEqual(self.run_.stdout.readline(), b"ready\n")

    def page(self, pid):
        result = call("report", "--pid", str(pid), "-o", "-")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return result.stdout

    def test_its_figures(self):
        def needed_mib(page):
            return float(re.search(r'id="needed">In use at most<b>([\d.]+) MiB', page)[1])
        end = time.monotonic() + PATIENCE_SECONDS
        while ("too short for a time line" in (page := self.page(self.run_.pid))
               or needed_mib(page) <= 48): # what is published may be a second old
            self.assertLess(time.monotonic(), end)
            time.sleep(0.2)
        self.assertRegex(page, r'id="budget">Budget<b>16\.0 MiB</b>')
        self.assertRegex(page, r'id="exit">Exit status<b>none yet</b>')
        self.assertIn("The run goes on.", page)
        self.assertNotIn('id="heat"', page)
        self.assertNotIn("<i>&", page)
        self.assertIn("&lt;i&gt;&amp;", page)
        ours = [one["pid"] for one in json.loads(
            call("ps", "--json", "--runs").stdout)["processes"] if "'<i>&'" in one["command"]]
        self.assertTrue(ours)
        for pid in ours: # by any of it the same run is meant
            self.assertIn(f'<td class="n">{pid}</td>', page)
            self.assertIn("16.0 MiB", self.page(pid))

    def test_who_is_in_no_run(self):
        for pid in (1, os.getpid(), 4000000):
            result = call("report", "--pid", str(pid), "-o", "-")
            self.assertEqual((result.returncode, result.stdout), (1, ""))
            self.assertIn(f"process {pid} is in no run of Quire", result.stderr)
        for arguments, message in ((["--pid", "0"], "is no process id"),
                                   (["--pid", "1", "FILE"], "leave out one of both")):
            result = call("report", *arguments, "-o", "-")
            self.assertEqual((result.returncode, result.stdout), (125, ""))
            self.assertIn(message, result.stderr)


class Refused(WithRun):
    def refuse(self, figures, message, status=1):
        """Nothing is written, and what is there stays."""
        with open(self.page, "w", encoding="utf-8") as file:
            file.write("old")
        self.write(figures)
        result = call("report", self.stats, "-o", self.page)
        self.assertEqual((result.returncode, result.stdout), (status, ""), result.stderr)
        self.assertTrue(result.stderr.startswith(f"quire: {self.stats}: {message}"), result.stderr)
        with open(self.page, encoding="utf-8") as file:
            self.assertEqual(file.read(), "old")
        self.assertEqual(sorted(os.listdir(self.directory)), ["run.html", "run.json"])

    def test_what_is_no_run(self):
        text = json.dumps(self.figures, indent=1)
        self.refuse("", "it ends in the middle, in line 1\n       the run may still be writing it")
        self.refuse(text[:len(text) // 2], "it ends in the middle, in line ")
        self.refuse("budget: 12", "it is no JSON")
        self.refuse(text.replace(",", ";", 1), "it is no JSON: line 2, column ")
        self.refuse(text.replace('"version"', '"format"', 1), "it is no JSON: line 4, column ")
        for other in ("[]", "{}", '{"checks": []}', '{"format": "something", "a": 1}'):
            self.refuse(other, "it is JSON, but not of `quire run --stats'\n")

    def test_versions(self):
        figures = copy.deepcopy(self.figures)
        figures["format_version"] = 2
        self.refuse(figures, "it is in version 2 of the format, and quire ")
        figures["format_version"] = "x"
        self.refuse(figures, '"format_version" is no whole number\n')
        del figures["format"]
        self.refuse(figures, "an older Quire wrote it, without a time line\n       run the program")

    def test_every_field_that_is_missing(self):
        def keys(value, path=()):
            for key, its in value.items():
                yield (*path, key)
                if isinstance(its, dict) and key not in ("options", "machine"):
                    yield from keys(its, (*path, key))
        not_read = {"scrubbed_bytes", "compressed_pages", "peak_resident_bytes",
                    "peak_staged_bytes", "peak_metadata_bytes", "prefetched_pages",
                    "prefetch_hits", "stall_ns", "end_budget_bytes", "working_set",
                    "interval_seconds", "format", "format_version", "processes"}
        for path in keys(self.figures):
            if path[-1] in not_read or path[0] == "publication" or (
                    path[0] == "timeline" and path[-1] in (
                        "dropped_dead_pages", "same_filled_pages", "written_pages",
                        "waits_for_room")):
                continue
            figures = copy.deepcopy(self.figures)
            holder = figures
            for key in path[:-1]:
                holder = holder[key]
            kept = holder.pop(path[-1])
            if path == ("budget_bytes",):
                figures["format"] = "quire-run"
            self.refuse(figures, f'it has no "{path[-1]}"\n')
            holder[path[-1]] = -1 if isinstance(kept, (int, float)) else 1
            self.refuse(figures, '"')

    def test_wrong_values(self):
        def changed(change):
            figures = copy.deepcopy(self.figures)
            change(figures)
            return figures
        timeline = "timeline"
        for change, message in (
                (lambda f: f[timeline]["seconds"].reverse(), '"seconds" of "timeline" does not rise'),
                (lambda f: f[timeline]["evictions"].pop(),
                 '"evictions" of "timeline" is not as long as "seconds"'),
                (lambda f: f[timeline]["file_bytes"].__setitem__(1, None),
                 '"file_bytes" is no number from 0 on'),
                (lambda f: f[timeline]["heat"][0]["faults"].pop(),
                 '"resident" and "faults" of "heat" are not of one length'),
                (lambda f: f[timeline]["heat"][0]["resident"].__setitem__(0, "x"),
                 'row 0 of "heat" is no text of a character of 0 to 9 for each sample'),
                (lambda f: f["fault_wait"]["histogram"]["upper_ns"].reverse(),
                 '"upper_ns" does not rise'),
                (lambda f: f["fault_wait"]["histogram"]["faults"].pop(),
                 '"upper_ns" and "faults" of "histogram" are not of one length'),
                (lambda f: f["command"].append(7), '"command" is no list of texts'),
                (lambda f: f.update(budget_bytes=1.5), '"budget_bytes" is no whole number'),
                (lambda f: f.update(process_list=[{}]), 'it has no "pid"')):
            self.refuse(changed(change), message)
        self.refuse(json.dumps(self.figures).replace('"budget_bytes": ', '"budget_bytes": 9' * 1
                                                     + "0" * 30), "it is no JSON: line 1, column")

    def test_files(self):
        missing = self.path("none.json")
        result = call("report", missing, "-o", self.page)
        self.assertEqual((result.returncode, result.stderr),
                         (1, f"quire: cannot read {missing}: No such file or directory\n"))
        result = call("report", self.directory, "-o", self.page)
        self.assertEqual((result.returncode, result.stderr),
                         (1, f"quire: cannot read {self.directory}: Is a directory\n"))
        for where, why in (("no/such/run.html", "No such file or directory"), (".", "Is a directory")):
            result = call("report", self.stats, "-o", self.path(where))
            self.assertEqual((result.returncode, result.stderr),
                             (125, f"quire: cannot write the page to {self.path(where)}: {why}\n"))
        result = call("report", self.stats, "-o", "/dev/full")
        self.assertEqual((result.returncode, result.stderr),
                         (125, "quire: cannot write the page to /dev/full: No space left on device\n"))
        with open("/dev/full", "w", encoding="utf-8") as full:
            result = subprocess.run([QUIRE, "report", self.stats, "-o", "-"], stdout=full,
                                    stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual(result.returncode, 125)
        self.assertIn("cannot write to standard output", result.stderr)

    def test_the_figures_are_not_overwritten(self):
        os.link(self.stats, self.path("same"))
        for name in (self.stats, self.path("same")):
            result = call("report", self.stats, "-o", name)
            self.assertEqual((result.returncode, result.stderr),
                             (125, f"quire: {name} would take the place of the figures themselves\n"
                                   "       name another file by -o FILE\n"))
        with open(self.stats, encoding="utf-8") as file:
            self.assertEqual(json.load(file), self.figures)

    def test_command_lines(self):
        for words, message in (([], "which figures?"), ([self.stats], "where to? -o FILE.html"),
                               ([self.stats, "b", "-o", "x"], "'b': one FILE at a time"),
                               ([self.stats, "--bogus"], "unrecognized option"),
                               ([self.stats, "-o"], "requires an argument")):
            result = call("report", *words)
            self.assertEqual((result.returncode, result.stdout), (125, ""), words)
            self.assertIn(message, result.stderr)


# Told about the page by itself, in its title: what it asked for, and what does not fit.
PROBE = """<script>
addEventListener("load", () => {
  const wide = [...document.querySelectorAll("body *:not(.wide *)")].filter(
    e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest("svg"));
  const svgs = [...document.querySelectorAll("svg")];
  document.title = JSON.stringify({
    width: innerWidth,
    requests: performance.getEntriesByType("resource").map(e => e.name),
    scrolls: document.documentElement.scrollWidth > innerWidth,
    wide: wide.map(e => e.outerHTML.slice(0, 80)),
    svgs: svgs.length,
    flat: svgs.filter(e => e.getBoundingClientRect().height < 50 ||
                           e.getBoundingClientRect().width < 200).length,
    small: [...document.querySelectorAll(".y span, .x span")].filter(
      e => parseFloat(getComputedStyle(e).fontSize) < 10).length,
    ink: getComputedStyle(document.querySelector("#memory svg .c0")).fill,
    highest: Math.max(...[...document.querySelectorAll("#memory svg path")].map(
      e => e.getBBox().height)),
  });
});
</script>"""


@unittest.skipUnless(CHROMIUM, "no chromium here")
class Browser(WithRun):
    def render(self, page, *arguments):
        """The document as the browser has it after loading, and what its console says."""
        options = ["--headless", "--disable-gpu", "--no-first-run", "--disable-sync",
                   "--disable-background-networking", "--disable-component-update",
                   "--disable-default-apps", "--enable-logging=stderr",
                   f"--user-data-dir={self.path('profile')}", *arguments]
        if os.geteuid() == 0:
            options.append("--no-sandbox")
        result = subprocess.run([CHROMIUM, *options, "--dump-dom", f"file://{page}"], check=False,
                                capture_output=True, text=True, timeout=PATIENCE_SECONDS,
                                env={**os.environ, "HOME": self.directory})
        if result.returncode != 0 or "<html" not in result.stdout:
            self.skipTest(f"chromium does not run here: {result.stderr[-500:]}")
        return result.stdout, re.findall(r".*CONSOLE.*", result.stderr)

    def test_on_a_phone(self):
        """The page as it is, but that its policy lets the probe run."""
        page = self.report()
        policy = "default-src 'none';"
        self.assertIn(policy, page)
        with open(self.page, "w", encoding="utf-8") as file:
            file.write(page.replace(policy, policy + " script-src 'unsafe-inline';", 1)
                       .replace("</body>", PROBE + "</body>"))
        document, console = self.render(self.page, "--window-size=400,800")
        self.assertEqual(console, [])
        told = json.loads(html.unescape(re.search(r"<title>(.*?)</title>", document)[1]))
        self.assertLessEqual(told["width"], 500)
        self.assertEqual((told["requests"], told["scrolls"], told["wide"], told["flat"],
                          told["small"]), ([], False, [], 0, 0))
        self.assertEqual(told["svgs"], page.count("<svg"))
        self.assertGreaterEqual(told["svgs"], 9)
        self.assertEqual(told["ink"], "rgb(0, 114, 178)")
        self.assertIn(int(told["highest"]), range(60, 241))
        self.check(document)

    def check(self, document):
        """What it says, as the browser understood it."""
        self.assertIn('<li id="budget">Budget<b>16.0 MiB</b>', document)
        self.assertIn(html.escape(NAME, quote=False), document)
        self.assertEqual(document.count("<script"), 1)  # the probe
        for name in ("memory", "pages", "rates", "stall", "evictions", "compression", "latency",
                     "heat"):
            figure = re.search(rf'<figure id="{name}">(.*?)</figure>', document, re.S)[1]
            self.assertRegex(figure, r"<svg [^>]*>\s*<path class=", name)


if __name__ == "__main__":
    unittest.main()

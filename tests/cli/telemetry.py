#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`quire tune`, `export` and `log`, and what `quire time` tells of waiting, as a user meets them.

Usage: telemetry.py QUIRE SOURCE_ROOT [unittest's arguments]
"""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from asking import (AS_NOBODY, CGROUP1, PATIENCE_SECONDS, QUIRE, ROOT, ZRAM, call, keys_of,
                    may_be_run_by_others, output, read)

PROMTOOL = os.environ.get("PROMTOOL") or shutil.which("promtool") or os.path.join(
    os.environ.get("BUILD_ROOT", os.path.join(ROOT, "build-test")), "tools/promtool")
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class InDirectory(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name

    def path(self, name):
        return os.path.join(self.directory, name)

    def machine(self, name, **edits):
        """A copy of a recorded machine; edits are keys of /proc/vmstat that count so much more."""
        path = self.path(name)
        shutil.copytree(ZRAM, path, symlinks=True)
        for key, more in edits.items():
            self.change(path, "proc/vmstat", rf"(?m)^{key} (\d+)$",
                        lambda match, key=key, more=more: f"{key} {int(match[1]) + more}")
        return path

    @staticmethod
    def change(machine, file, pattern, replacement):
        text = read(os.path.join(machine, file))
        changed = re.sub(pattern, replacement, text)
        assert changed != text
        with open(os.path.join(machine, file), "w", encoding="utf-8") as to:
            to.write(changed)

    def refused(self, status, message, *arguments):
        result = call(*arguments)
        self.assertEqual((result.returncode, result.stdout), (status, ""), arguments)
        self.assertIn(message, result.stderr)


class Tune(InDirectory):
    def later(self, **edits):
        machine = self.machine("after", **edits)
        self.change(machine, "proc/uptime", r"^(\d+)", lambda match: str(int(match[1]) + 10))
        return machine

    def test_what_happened_between_two_recordings(self):
        before, after = self.machine("before"), self.later(pgmajfault=2000, pswpin=3000)
        result = call("tune", "--before", before, "--root", after)
        self.assertEqual((result.returncode, result.stderr), (2, ""))
        self.assertTrue(result.stdout.startswith("looked for 10.0 s\n\nadvice  major-faults: 200 "))
        self.assertIn("\n  now     vm.page-cluster = 3\n  change  sysctl -w vm.page-cluster=0\n",
                      result.stdout)
        self.assertRegex(result.stdout, r"\n  seen +200/s  major faults\n")
        self.assertRegex(result.stdout, r"\n2 of \d+ rules found something; nothing was changed\n")
        data = json.loads(call("tune", "--before", before, "--root", after, "--json").stdout)
        self.assertEqual([each["rule"] for each in data["findings"]],
                         ["major-faults", "page-cluster"])
        self.assertEqual((data["schema"], data["since_boot"], data["seconds"]),
                         ("quire.tune/1", False, 10))
        self.assertEqual(data["findings"][1]["change"], ["sysctl -w vm.page-cluster=0"])
        self.assertEqual({key for key in keys_of(data) if key not in
                          read(f"{ROOT}/man/quire-tune.1")}, set())

    def test_statuses(self):
        before = self.machine("before")
        self.assertEqual(call("tune", "--before", before, "--root", before).returncode, 0)
        self.assertEqual(call("tune", "--root", CGROUP1).returncode, 2)
        after = self.later(oom_kill=1)
        result = call("tune", "--before", before, "--root", after)
        self.assertEqual(result.returncode, 3)
        self.assertIn("urgent  oom-kills: the kernel killed 1 process for lack of memory meanwhile",
                      result.stdout)
        self.change(after, "proc/meminfo", "MemTotal: +\\d+", "MemTotal: x")
        self.refused(1, "/proc/meminfo: line 1", "tune", "--root", after)

    def test_rules_are_listed(self):
        rules = json.loads(output("tune", "--list", "--json"))["rules"]
        self.assertGreaterEqual(len(rules), 30)
        lines = output("tune", "--list").splitlines()
        self.assertEqual([line.split()[0] for line in lines], [each["rule"] for each in rules])

    def test_this_machine(self):
        def settings():
            return subprocess.run("cat /proc/sys/vm/* /sys/kernel/mm/transparent_hugepage/enabled",
                                  shell=True, capture_output=True, check=False).stdout
        before = settings()
        for seconds, who in (("1", []), ("0", AS_NOBODY if may_be_run_by_others() else [])):
            result = call("tune", "--for", seconds, "--json", before=who)
            self.assertIn(result.returncode, (0, 2, 3))
            self.assertGreater(json.loads(result.stdout)["seconds"], 0.9)
        self.assertEqual(settings(), before)

    def test_refusals(self):
        self.refused(125, "'0.5' is no time to look", "tune", "--for", "0.5")
        self.refused(125, "--before goes with --root", "tune", "--before", ZRAM)
        self.refused(125, "takes options only", "tune", "60")
        self.refused(1, "cannot read a machine in /nonexistent", "tune", "--root", "/nonexistent")
        self.refused(125, "was recorded later than the other", "tune", "--before", self.later(),
                     "--root", self.machine("before"))


def strictly(test, text):
    """OpenMetrics' rules, as far as they concern us: what is announced, suffixes, order, no twins."""
    test.assertTrue(text.endswith("\n# EOF\n"))
    families, series, family = {}, set(), None
    for line in text[:-len("# EOF\n")].splitlines():
        comment = re.fullmatch(r"# (HELP|TYPE|UNIT) ([a-z_]+) (.+)", line)
        if comment:
            if comment[1] == "HELP":
                test.assertNotIn(comment[2], families) # together, and once
                family = families[comment[2]] = {"name": comment[2]}
            test.assertEqual(comment[2], family["name"])
            family[comment[1]] = comment[3]
            continue
        sample = re.fullmatch(r'([a-z_]+)(\{(?:[a-z]+="(?:[^"\\\n]|\\[\\"n])*",?)+\})? (\S+)', line)
        test.assertIsNotNone(sample, line)
        suffix = {"counter": "(_total)", "info": "(_info)",
                  "histogram": "(_bucket|_count|_sum)"}.get(family["TYPE"], "()")
        test.assertRegex(sample[1], rf"\A{family['name']}{suffix}\Z")
        if "UNIT" in family:
            test.assertTrue(family["name"].endswith("_" + family["UNIT"]))
        test.assertGreaterEqual(float(sample[3]), 0)
        test.assertNotIn((sample[1], sample[2]), series)
        series.add((sample[1], sample[2]))
    test.assertTrue(all("HELP" in each and "TYPE" in each for each in families.values()))
    return families, series


def documented_names():
    return set(re.findall(r"(?m)^\| `(quire_\w+)` \|", read(f"{ROOT}/docs/export.md")))


class Export(InDirectory):
    def page(self, *arguments, **options):
        return output("export", "--textfile", "-", *arguments, **options)

    def test_openmetrics(self):
        families, series = strictly(self, self.page("--processes", "5", "--pss"))
        self.assertIn(("quire_pressure_seconds_total", '{resource="memory",kind="some"}'), series)
        self.assertEqual(families["quire_swap_in_bytes"]["TYPE"], "counter")
        self.assertEqual(len([each for each in series if each[0] == "quire_process_resident_bytes"]),
                         5)
        families, _ = strictly(self, self.page("--root", ZRAM))
        self.assertIn("quire_zram_held_bytes", families)
        self.assertNotIn("quire_zswap_held_bytes", families) # that kernel tells nothing of it

    def test_json(self):
        """The same series, whatever the names of programs are."""
        machine = self.machine("machine")
        self.change(machine, "proc/268/stat", r"\(sh\)", lambda _: '(a"b\\c\x01d)')
        page = self.page("--root", machine, "--processes", "5", "--pss")
        _, series = strictly(self, page)
        data = json.loads(output("export", "--json", "--root", machine, "--processes", "5", "--pss"))
        self.assertEqual(data["schema"], "quire.export/1")
        ours, values = set(), {}
        for family in data["families"]:
            self.assertEqual(set(family), {"name", "type", "unit", "help", "samples"})
            for sample in family["samples"]:
                ours.add(sample["name"])
                values[sample["name"], *sample["labels"].values()] = sample["value"]
        self.assertEqual(ours, {name for name, _ in series})
        self.assertEqual(len(values), len(series))
        self.assertEqual(values["quire_process_resident_bytes", "268", 'a"b\\c?d'], 89560 << 10)
        self.assertEqual(json.loads(output("export", "--format", "json", "--textfile", "-", "--root",
                                           machine))["families"][1]["name"],
                         "quire_memory_size_bytes")

    def test_values(self):
        page = self.page("--root", CGROUP1)
        self.assertIn("\nquire_major_faults_total 25799471\n", page)
        self.assertIn('\nquire_pressure_seconds_total{resource="memory",kind="full"} 293.81523\n',
                      page)
        self.assertRegex(page, r"\nquire_uptime_seconds 66128.73\n")

    @unittest.skipUnless(os.access(PROMTOOL, os.X_OK), "no promtool here")
    def test_promtool(self):
        page = self.page("--processes", "5", "--pss", "--format", "prometheus")
        result = subprocess.run([PROMTOOL, "check", "metrics"], input=page, text=True,
                                capture_output=True, check=False, timeout=PATIENCE_SECONDS)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))
        # its parser of OpenMetrics is behind a command that wants times
        page = re.sub(r"(?m)^(?!#)(.+)$", r"\1 1700000000", self.page("--processes", "5"))
        with open(self.path("page"), "w", encoding="utf-8") as file:
            file.write(page)
        result = subprocess.run([PROMTOOL, "tsdb", "create-blocks-from", "openmetrics",
                                 self.path("page"), self.path("blocks")], text=True,
                                capture_output=True, check=False, timeout=PATIENCE_SECONDS)
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_names_that_try_to_confuse(self):
        machine = self.machine("machine")
        name = b'a"b\\c\nd\xff}'
        path = os.path.join(machine, "proc/268/stat")
        with open(path, "rb") as file:
            stat = file.read()
        with open(path, "wb") as file:
            file.write(stat.replace(b"(sh)", b"(" + name + b")"))
        page = self.page("--root", machine, "-f", "pid=268")
        strictly(self, page)
        self.assertIn('{pid="268",name="a\\"b\\\\c?d\ufffd}"}', page)

    def test_what_is_chosen(self):
        page = self.page("--root", ZRAM, "-f", "name=sleep", "-f", "pid!=117")
        self.assertEqual(set(re.findall(r'_resident_bytes\{pid="(\d+)"', page)), {"116", "118"})
        page = self.page("--root", ZRAM, "--processes", "1")
        self.assertEqual(set(re.findall(r'pid="(\d+)"', page)), {"268"})
        self.assertNotIn("proportional", page)
        self.assertIn('quire_process_proportional_bytes{pid="268",name="sh"} 90',
                      self.page("--root", ZRAM, "--processes", "1", "--pss"))

    @unittest.skipUnless(call("doctor").returncode == 0, "`quire run' does not work here")
    def test_a_run(self):
        run = subprocess.Popen([QUIRE, "run", "-q", "--ram", "32M", "--", "sh", "-c",
                                "echo up; read x"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.assertEqual(run.stdout.readline(), b"up\n")
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end: # others may run, too
            page = self.page()
            ours = re.search(r'quire_run_info\{run="(\d+)",command="sh -c echo up; read x"', page)
            if ours:
                break
            time.sleep(0.05)
        run.communicate(b"\n", PATIENCE_SECONDS)
        families, series = strictly(self, page)
        self.assertIn(f'\nquire_run_budget_bytes{{run="{ours[1]}"}} {32 << 20}\n', page)
        self.assertIn(("quire_run_fault_seconds_bucket", f'{{run="{ours[1]}",le="+Inf"}}'), series)
        self.check_documented(families, series)

    def check_documented(self, families, series):
        names = {name + {"counter": "_total", "info": "_info"}.get(family["TYPE"], "")
                 for name, family in families.items() if any(
                     each[0].startswith(name) for each in series)}
        self.assertLessEqual(names, documented_names())

    def test_every_metric_is_documented(self):
        for arguments in (["--processes", "3", "--pss"], ["--root", ZRAM]):
            self.check_documented(*strictly(self, self.page(*arguments)))

    def test_the_dashboard(self):
        """It is JSON, and asks for nothing that is not there."""
        dashboard = json.loads(read(f"{ROOT}/docs/grafana-quire.json"))
        asked = set()
        for panel in dashboard["panels"]:
            self.assertTrue(panel["title"] and panel["targets"])
            for target in panel["targets"]:
                names = re.findall(r"quire_\w+", target["expr"])
                self.assertTrue(names)
                asked.update(re.sub(r"_bucket$", "", name) for name in names)
        self.assertGreater(len(asked), 20)
        self.assertLessEqual(asked, documented_names())

    def test_the_dashboard_lies_well(self):
        """What Grafana mends or drops in silence: ids, places, the chosen data source."""
        panels = json.loads(read(f"{ROOT}/docs/grafana-quire.json"))["panels"]
        self.assertEqual(len({panel["id"] for panel in panels}), len(panels))
        places = set()
        for panel in panels:
            at = panel["gridPos"]
            self.assertLessEqual(at["x"] + at["w"], 24)
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"])
                     for y in range(at["y"], at["y"] + at["h"])}
            self.assertTrue(places.isdisjoint(cells), panel["title"])
            places |= cells
            self.assertIn(panel["fieldConfig"]["defaults"]["unit"],
                          ("bytes", "percentunit", "ops", "short", "s"))
            for one in (panel, *panel["targets"]):
                self.assertEqual(one.get("datasource", panel["datasource"])["uid"], "${datasource}")
            self.assertEqual(len({target["refId"] for target in panel["targets"]}),
                             len(panel["targets"]))

    @unittest.skipUnless(os.access(PROMTOOL, os.X_OK), "no promtool here")
    def test_the_dashboards_questions(self):
        """Each is PromQL, with Grafana's variables filled in: as a rule that promtool looks at."""
        dashboard = json.loads(read(f"{ROOT}/docs/grafana-quire.json"))
        rules = []
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                question = target["expr"].replace("$__rate_interval", "1m")
                question = re.sub(r"\$\{?instance\}?", ".*", question)
                self.assertNotIn("$", question)
                rules.append({"record": f"r{len(rules)}", "expr": question})
        path = self.path("rules.yml")
        with open(path, "w", encoding="utf-8") as file: # JSON is YAML
            json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, file)
        result = subprocess.run([PROMTOOL, "check", "rules", path], capture_output=True, text=True,
                                check=False)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertIn(f"{len(rules)} rules found", result.stdout)

    @unittest.skipUnless(may_be_run_by_others(), "needs root, setpriv and an open build directory")
    def test_as_somebody_else(self):
        strictly(self, self.page("--processes", "3", "--pss", before=AS_NOBODY, cwd="/"))

    def test_a_file_is_never_seen_half(self):
        path = self.path("metrics")
        writer = subprocess.Popen([QUIRE, "export", "--textfile", path, "--interval", "0.005"])
        end = time.monotonic() + PATIENCE_SECONDS
        while not os.path.exists(path) and time.monotonic() < end:
            time.sleep(0.01)
        written = set()
        while len(written) < 5 and time.monotonic() < end: # numbers of inodes are used again
            written.add((os.stat(path).st_ino, os.stat(path).st_mtime_ns))
            text = read(path)
            self.assertTrue(text.startswith("# HELP") and text.endswith("# EOF\n"))
        writer.send_signal(signal.SIGTERM)
        self.assertEqual(writer.wait(PATIENCE_SECONDS), 0)
        self.assertEqual(os.listdir(self.directory), ["metrics"])

    def test_refusals(self):
        self.refused(125, "give --listen ADDRESS:PORT, or --textfile FILE", "export")
        self.refused(125, "give --listen", "export", "--listen", "127.0.0.1:0", "--textfile", "x")
        for address in ("example.com:80", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:99999", ":80", "[::1:1"):
            self.refused(125, "is no address to listen at", "export", "--listen", address)
        self.refused(125, "cannot write the figures", "export", "--textfile", "/nonexistent/x")
        self.refused(125, "is no format", "export", "--textfile", "-", "--format", "xml")
        self.refused(125, "is no test", "export", "--textfile", "-", "-f", "nothing=1")
        self.refused(125, "--pss is about processes", "export", "--textfile", "-", "--pss")
        self.refused(125, "is no number of processes", "export", "--textfile", "-", "--processes", "1001")
        self.refused(1, "cannot read a machine", "export", "--textfile", "-", "--root", "/nonexistent")

    def test_options_are_documented(self):
        ways = [output("help", "export"), output("export", "--help"), output("export", "-h")]
        self.assertEqual(len(set(ways)), 1)
        manual = read(f"{ROOT}/man/quire-export.1").replace("\\-", "-")
        for option in set(re.findall(r"(?<!\S)--[a-z][a-z-]*", ways[0].split("\n\n")[1])):
            self.assertIn(option, manual)
            for shell, word in (("quire.bash", option), ("_quire", option),
                                ("quire.fish", "-l " + option[2:])):
                self.assertIn(word, read(f"{ROOT}/completions/{shell}"), shell)


class Server(InDirectory):
    def setUp(self):
        super().setUp()
        self.server = subprocess.Popen([QUIRE, "export", "--listen", "127.0.0.1:0"],
                                       stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.stop)
        line = self.server.stderr.readline()
        self.address = ("127.0.0.1", int(re.fullmatch(
            r"quire: figures at http://127\.0\.0\.1:(\d+)/metrics\n", line)[1]))

    def stop(self):
        self.server.send_signal(signal.SIGTERM)
        self.assertEqual(self.server.wait(PATIENCE_SECONDS), 0)
        self.server.stderr.close()

    def connect(self):
        return socket.create_connection(self.address, PATIENCE_SECONDS)

    def ask(self, request):
        with self.connect() as connection:
            connection.sendall(request)
            answer = b""
            while (more := connection.recv(65536)):
                answer += more
        head, _, body = answer.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        return lines[0], dict(line.split(": ", 1) for line in lines[1:]), body.decode()

    def test_what_is_asked_for(self):
        status, fields, body = self.ask(b"GET /metrics HTTP/1.1\r\nHost: x\r\nACCEPT:  application/"
                                        b"openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1\r\n\r\n")
        self.assertEqual((status, fields["Content-Type"]), ("HTTP/1.1 200 OK", OPENMETRICS))
        self.assertEqual(int(fields["Content-Length"]), len(body))
        strictly(self, body)
        status, fields, body = self.ask(b"GET /metrics?x=1 HTTP/1.0\n\n")
        self.assertEqual(fields["Content-Type"], "text/plain; version=0.0.4; charset=utf-8")
        self.assertIn("# TYPE quire_major_faults_total counter\n", body)
        status, fields, body = self.ask(b"HEAD /metrics HTTP/1.1\r\n\r\n")
        self.assertEqual((status, body), ("HTTP/1.1 200 OK", ""))
        self.assertIn('href="/metrics"', self.ask(b"GET / HTTP/1.1\r\n\r\n")[2])

    def test_what_is_refused(self):
        for request, status in ((b"GET /x HTTP/1.1\r\n\r\n", "404 Not Found"),
                                (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
                                 "405 Method Not Allowed"),
                                (b"GET /metrics HTTP/2.0\r\n\r\n", "505 HTTP Version Not Supported"),
                                (b"GET /metrics\r\n\r\n", "400 Bad Request"),
                                (b"\0\1\2 /metrics HTTP/1.1\r\n\r\n", "400 Bad Request"),
                                (b"GET /metrics HTTP/1.1 more\r\n\r\n", "400 Bad Request"),
                                (b"\r\n\r\n", "400 Bad Request"),
                                (b"GET /" + b"x" * 300 + b" HTTP/1.1\r\n\r\n", "400 Bad Request"),
                                (b"GET / HTTP/1.1\r\nX: " + b"x" * 9000,
                                 "431 Request Header Fields Too Large")):
            self.assertEqual(self.ask(request)[0], "HTTP/1.1 " + status, request[:40])

    def test_clients_that_do_nothing(self):
        """More of them than there are places, and each of these half-way: the next is served."""
        idle = [self.connect() for _ in range(50)]
        for connection in idle:
            connection.sendall(b"GET /metrics HT")
        unread = self.connect() # asks, and never reads
        unread.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        for _ in range(3):
            self.assertEqual(self.ask(b"GET /metrics HTTP/1.1\r\n\r\n")[0], "HTTP/1.1 200 OK")
        for connection in [*idle, unread]:
            connection.close()

    def test_many_at_once(self):
        answers = []

        def client():
            for _ in range(5):
                answers.append(self.ask(b"GET /metrics HTTP/1.1\r\n\r\n")[0])
        threads = [threading.Thread(target=client) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
        self.assertEqual(answers, ["HTTP/1.1 200 OK"] * 40)

    def test_an_address_that_is_taken(self):
        self.refused(125, "another program does; take another port", "export", "--listen",
                     "127.0.0.1:%d" % self.address[1])


class Log(InDirectory):
    def record(self, *arguments, **options):
        return call("log", "-o", self.path("log"), "--interval", "0.02", *arguments, **options)

    def replay(self, *arguments):
        return [json.loads(line) for line in
                output("vmstat", "--json", "--replay", self.path("log"), *arguments).splitlines()]

    def test_what_is_recorded_is_replayed(self):
        result = self.record("-n", "4", "--json")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        data = json.loads(result.stdout)
        self.assertEqual((data["schema"], data["samples"]), ("quire.log/1", 4))
        self.assertEqual(self.record("-n", "2").returncode, 0) # goes on
        info = json.loads(output("log", "--info", self.path("log"), "--json"))
        self.assertEqual((info["schema"], info["samples"], info["interval_seconds"]),
                         ("quire.log-info/1", 6, 0.02))
        manual = read(f"{ROOT}/man/quire-log.1")
        self.assertEqual({key for key in keys_of([data, info]) if key not in manual}, set())
        lines = self.replay()
        self.assertEqual([line["since_boot"] for line in lines], [True] + [False] * 5)
        times = [line["time"] for line in lines]
        self.assertEqual((times[0], times[-1]), (info["first"], info["last"]))
        self.assertEqual(times, sorted(times))
        self.assertEqual([line["time"] for line in self.replay("--reverse")], times[::-1])
        self.assertEqual([line["time"] for line in self.replay("0.001", "3")], times[:3])
        self.assertEqual(len(self.replay("3600")), 1)
        self.assertEqual(len(self.replay("--from", "-1h", "--to", "2999-01-01T00:00")), 6)
        text = output("vmstat", "--replay", self.path("log")).splitlines()
        self.assertEqual(len(text), 8)
        self.assertEqual({len(line) for line in text[:2]}, {len(text[2])})
        self.assertEqual(os.stat(self.path("log")).st_mode & 0o777, 0o600)

    def test_figures_are_those_of_the_machine(self):
        self.assertEqual(self.record("-n", "1", "--root", CGROUP1).returncode, 0)
        line, = self.replay()
        live = json.loads(output("vmstat", "--json", "--root", CGROUP1))
        del line["time"]
        self.assertEqual(line, live)

    def test_zones_and_slab_caches_of_a_moment(self):
        for machine in (CGROUP1, ZRAM):
            self.assertEqual(self.record("-n", "1", "--root", machine).returncode, 0)
            recorded = json.loads(output("zones", "--json", "--replay", self.path("log")))
            live = json.loads(output("zones", "--json", "--root", machine))
            for zone in live["zones"]: # by mobility is not recorded
                self.assertNotEqual(zone["mobility"], {})
                zone["mobility"] = {}
            self.assertEqual(recorded["zones"], live["zones"])
            slabs = ("slabs", "--kernel", "--all", "--sort", "bytes", "--json")
            self.assertEqual(output(*slabs, "--replay", self.path("log")),
                             output(*slabs, "--root", machine))
        times = [line["time"] for line in self.replay()] # two machines, one after the other
        self.assertEqual(len(times), 2)
        first = json.loads(output("zones", "--json", "--replay", self.path("log"), "--at", "-1h"))
        self.assertNotEqual(first["zones"], recorded["zones"])

    def test_free_of_a_moment(self):
        for machine in (CGROUP1, ZRAM):
            self.assertEqual(self.record("-n", "1", "--root", machine).returncode, 0)
            recorded = json.loads(output("free", "--json", "--replay", self.path("log")))
            self.assertEqual(recorded.pop("time"), self.replay()[-1]["time"])
            self.assertEqual(recorded, json.loads(output("free", "--json", "--root", machine)))
            self.assertEqual(output("free", "--explain", "--replay", self.path("log")),
                             output("free", "--explain", "--root", machine))
        text = output("free", "--replay", self.path("log")).splitlines()
        self.assertEqual(text[:-1], output("free", "--root", ZRAM).splitlines())
        self.assertRegex(text[-1], r"^recorded    \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$")
        first = json.loads(output("free", "--json", "--replay", self.path("log"), "--at", "-1h"))
        del first["time"] # of the other machine
        self.assertEqual(first, json.loads(output("free", "--json", "--root", CGROUP1)))
        self.refused(125, "goes with --replay", "free", "--at", "14:30")
        self.refused(125, "is no time", "free", "--replay", self.path("log"), "--at", "noon")
        self.refused(125, "neither with --root nor", "free", "--replay", "f", "--root", "/")
        self.refused(1, "No such file", "free", "--replay", "/nonexistent/x")

    def test_processes_of_a_moment(self):
        columns = "pid,user,state,rss,swap,locked,oom,threads,minor,major,command"
        for options in (("-s", "pid"), ("-t", "-l", "7"), ("-a", "-f", "rss>1M")):
            self.assertEqual(self.record("-n", "1", "--root", CGROUP1).returncode, 0)
            options = ("ps", "--json", "-o", columns, *options)
            recorded = json.loads(output(*options, "--replay", self.path("log")))
            live = json.loads(output(*options, "--root", CGROUP1))
            self.assertEqual(recorded.pop("time"), self.replay()[-1]["time"])
            self.assertGreater(len(live["processes"]), 3)
            self.assertEqual(recorded["processes"], live["processes"])
        text = output("ps", "--replay", self.path("log"))
        self.assertIn("PSS and USS were not recorded: `quire log --pss' does", text)
        rss = json.loads(output("ps", "--json", "-o", "rss,pss", "--replay", self.path("log")))
        sizes = [process["rss_bytes"] for process in rss["processes"]]
        self.assertEqual(sizes, sorted(sizes, reverse=True)) # without PSS by RSS
        self.assertEqual({process["pss_bytes"] for process in rss["processes"]}, {None})
        self.assertIsNone(rss["totals"]["pss_bytes"])
        self.assertEqual(self.record("-n", "1", "--pss", "--root", CGROUP1).returncode, 0)
        both = [json.loads(output("ps", "--json", "-o", "pid,pss,uss", *source))["processes"]
                for source in (("--replay", self.path("log")), ("--root", CGROUP1))]
        self.assertEqual(*both)
        self.refused(125, "goes with --replay", "ps", "--at", "14:30")
        self.refused(125, "neither with --root nor with --watch", "ps", "--replay", "f", "--watch")
        self.refused(125, "neither with --root nor with --watch", "ps", "--replay", "f", "--root", "/")

    def test_rates_of_a_moment(self):
        busy = subprocess.Popen(["python3", "-c", "import mmap\nwhile True: mmap.mmap(-1, 4096)[0] = 1"])
        try:
            self.assertEqual(self.record("-n", "3", "--interval", "0.3").returncode, 0)
        finally:
            busy.kill()
            busy.wait()
        process, = json.loads(output("ps", "--json", "-o", "pid,minor,minor_rate", "-f",
                                     f"pid={busy.pid}", "--replay", self.path("log")))["processes"]
        self.assertGreater(process["minor_faults_a_second"], 100)

    def test_what_was_denied_is_not_in_a_recording(self):
        machine = self.path("machine")
        shutil.copytree(CGROUP1, machine)
        for name in ("slabinfo", "buddyinfo"):
            os.unlink(f"{machine}/proc/{name}")
        self.assertEqual(self.record("-n", "1", "--root", machine).returncode, 0)
        self.refused(1, "has no slab caches", "slabs", "--kernel", "--replay", self.path("log"))
        self.refused(1, "has no zones", "zones", "--replay", self.path("log"))
        self.refused(125, "goes with --replay", "zones", "--at", "14:30")
        self.refused(125, "is no time", "zones", "--replay", self.path("log"), "--at", "noon")
        self.refused(125, "with none of --pid", "zones", "--replay", "f", "--pid", "1")
        self.refused(125, "with none of --pid", "slabs", "--replay", "f", "--pid", "1")

    def test_signals_end_it(self):
        writer = subprocess.Popen([QUIRE, "log", "-o", self.path("log"), "--interval", "0.01"],
                                  stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end and call("log", "--info", self.path("log")).returncode != 0:
            time.sleep(0.02)
        second = self.record("-n", "1")
        writer.send_signal(signal.SIGTERM)
        _, told = writer.communicate(timeout=PATIENCE_SECONDS)
        self.assertEqual(writer.returncode, 0)
        self.assertRegex(told, rf"^quire: \d+ samples, \S+ \S+ written to {self.path('log')}\n$")
        self.assertEqual((second.returncode, second.stderr),
                         (125, f"quire: cannot record to {self.path('log')}: another `quire log' "
                               "writes to it\n"))

    def test_a_file_that_is_cut(self):
        self.assertEqual(self.record("-n", "20").returncode, 0)
        os.truncate(self.path("log"), os.path.getsize(self.path("log")) - 500)
        self.assertIn(len(self.replay()), range(1, 20))
        os.truncate(self.path("log"), 100)
        self.refused(1, "is no file that `quire log' wrote", "vmstat", "--replay", self.path("log"))
        result = self.record("-n", "1")
        self.assertEqual(result.returncode, 125)
        self.assertIn("there is a file that `quire log' did not write", result.stderr)

    @unittest.skipUnless(may_be_run_by_others(), "needs root, setpriv and an open build directory")
    def test_as_somebody_else(self):
        os.chmod(self.directory, 0o777)
        self.assertEqual(self.record("-n", "2", "--pss", before=AS_NOBODY, cwd="/").returncode, 0)
        self.assertEqual(len(self.replay()), 2)

    def test_refusals(self):
        log = self.path("log")
        self.refused(125, "give -o FILE to record, or --info FILE", "log")
        self.refused(125, "is no size for a recording", "log", "-o", log, "--max-size", "1K")
        self.refused(125, "is no count", "log", "-o", log, "-n", "0")
        self.refused(125, "give the file by -o", "log", log)
        self.refused(125, "No such file or directory", "log", "-o", "/nonexistent/x")
        self.refused(125, "it is no regular file", "log", "-o", "/dev/null", "-n", "1")
        self.refused(1, "No such file", "vmstat", "--replay", "/nonexistent/x")
        self.refused(125, "go with --replay FILE", "vmstat", "--reverse")
        self.refused(125, "--replay and --root contradict", "vmstat", "--replay", log, "--root", "/")
        self.assertEqual(self.record("-n", "1").returncode, 0)
        self.refused(125, "it was made with another --max-size", "log", "-o", log, "--max-size", "2M")
        self.refused(125, "is no time: 14:30", "vmstat", "--replay", log, "--from", "noon")
        self.refused(1, "there is no sample between", "vmstat", "--replay", log, "--to",
                     "2000-01-01T00:00")


class Waiting(InDirectory):
    """What `quire time` knows of waits depends on the machine: it says so either way."""

    def test_where_the_figures_are_from(self):
        path = self.path("figures")
        self.assertEqual(call("time", "-j", path, "true").returncode, 0)
        cost = json.loads(read(path))
        waits = cost["waits"]
        self.assertIn(waits["source"], ("taskstats", "stat", None))
        known = {key for key, value in waits.items() if key.endswith("_seconds") and value is not None}
        if waits["source"] is None:
            self.assertEqual(known, set())
            self.assertTrue(waits["problem"])
        elif waits["source"] == "stat":
            self.assertEqual(known, {"block_io_seconds"})
        else:
            self.assertEqual(len(known), 5)
        if os.path.exists("/proc/sys/kernel/task_delayacct") and waits["source"] is None:
            self.assertEqual(waits["problem"], "delay accounting is off; as root: sysctl "
                                               "kernel.task_delayacct=1")

    def test_page_cache_hits(self):
        with open(self.path("data"), "wb") as file:
            file.write(bytes(8 << 20))
        path = self.path("figures")
        result = call("time", "-j", path, "sh", "-c", f"cat {self.path('data')} >/dev/null")
        self.assertEqual(result.returncode, 0)
        cost = json.loads(read(path))
        if isinstance(cost["read_device_bytes"], int) and cost["page_cache_hits"] is not None:
            expected = 1 - cost["read_device_bytes"] / cost["read_bytes"]
            self.assertAlmostEqual(cost["page_cache_hits"], max(expected, 0))
            self.assertGreaterEqual(cost["read_bytes"], 8 << 20)


class Schemas(unittest.TestCase):
    def test_all_are_listed(self):
        """Each schema that a command prints stands in docs/json.md."""
        listed = set(re.findall(r"`(quire\.[a-z-]+/\d+)`", read(f"{ROOT}/docs/json.md")))
        printed = set()
        for folder in "cli", "observe":
            for name in os.listdir(f"{ROOT}/src/{folder}"):
                printed.update(re.findall(r'"(quire\.[a-z-]+/\d+)"',
                                          read(f"{ROOT}/src/{folder}/{name}")))
        self.assertEqual(printed, listed)


if __name__ == "__main__":
    unittest.main()

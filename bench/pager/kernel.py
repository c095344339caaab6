# SPDX-License-Identifier: Apache-2.0
"""The kernel's side of bench/pager: a memory cgroup with a limit, swapping to memory by zram or
zswap; and cgroups without a limit, which only tell how much was used.

Everything that is set up is taken down again by close(), also after a signal: swap area, zram
device or swap file, zswap's settings, cgroups and the changed vm.page-cluster. Helpers run in
sessions of their own, so that a ^C at the terminal ends the benchmark and not its cleaning up.
"""
import contextlib
import os
import pathlib
import signal
import subprocess
import threading
import time

ZRAM_CONTROL = pathlib.Path("/sys/class/zram-control")
ZSWAP = pathlib.Path("/sys/module/zswap/parameters")
PAGE_CLUSTER = pathlib.Path("/proc/sys/vm/page-cluster")


class Unavailable(Exception):
    """What this machine lacks for the comparison."""


def mounted(kind, option=""):
    for line in pathlib.Path("/proc/mounts").read_text().splitlines():
        _, where, what, options = line.split()[:4]
        if what == kind and (not option or option in options.split(",")):
            return pathlib.Path(where)
    return None


def command(*argv, check=True):
    subprocess.run(argv, check=check, capture_output=True, start_new_session=True)


class Cgroup:
    """One group, of whichever version this machine has for memory."""

    def __init__(self, name):
        old, new = mounted("cgroup", "memory"), mounted("cgroup2")
        if old:
            self.path, self.limit_file = old / name, "memory.limit_in_bytes"
            self.peak_file = "memory.max_usage_in_bytes"
        elif new and "memory" in (new / "cgroup.controllers").read_text().split():
            self.path, self.limit_file = new / name, "memory.max"
            self.peak_file = "memory.peak"
            (new / "cgroup.subtree_control").write_text("+memory")
        else:
            raise Unavailable("no memory cgroup is mounted")
        self.is_old = bool(old)
        try:
            self.path.mkdir()
        except OSError as error:
            raise Unavailable(f"no memory cgroup can be made ({error.strerror})") from error
        swappiness = self.path / "memory.swappiness"  # only version 1 has its own
        if swappiness.exists():
            swappiness.write_text("100")
        self.oom_control = self.path / "memory.oom_control"
        if self.oom_control.exists():
            self.oom_control.write_text("1")

    def limit(self, n_bytes):
        (self.path / self.limit_file).write_text(str(n_bytes))

    def reset_peak(self):
        """False: this kernel can't; a group that is used once needs none."""
        try:
            (self.path / self.peak_file).write_text("0")
        except OSError:
            return False
        return True

    def peak_bytes(self):
        return int((self.path / self.peak_file).read_text())

    def relieve(self, n_bytes, stop):
        """Until `stop`: where reclaim gives up, lets the program have 2 MiB more for a moment.

        At a hard limit the kernel may find that no page of the group has been idle, and kill,
        although there is swap. Version 1 can be told to wait instead. Returns how often it was so.
        """
        n_times = 0
        while self.oom_control.exists() and not stop.wait(0.002):
            if "under_oom 1" not in self.oom_control.read_text():
                continue
            n_times += 1
            self.limit(n_bytes + (2 << 20))
            while not stop.wait(0.01):
                try:
                    self.limit(n_bytes)
                    break
                except OSError:
                    pass  # EBUSY: it is not below yet
        return n_times

    def start(self, argv, **options):
        """The program, which is in the group before it is executed."""
        return subprocess.Popen(
            ["/bin/sh", "-c", 'echo $$ >"$0" && exec "$@"', self.path / "cgroup.procs", *argv],
            **options)

    def close(self):
        """Ends what is left in it. A program that is stuck at the limit goes on to its end first."""
        for _ in range(200):
            try:
                for pid in (self.path / "cgroup.procs").read_text().split():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)
                self.path.rmdir()
                return
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.05)


class Zram:
    """A compressed swap device of our own, beside whatever there is."""

    name, codec = "zram", "lz4"

    def __init__(self, n_bytes):
        self.number = None
        self.swapping = False
        try:
            self.number = int((ZRAM_CONTROL / "hot_add").read_text())
        except OSError as error:
            raise Unavailable(f"no zram device can be added ({error.strerror}; modprobe zram)"
                              ) from error
        self.block = pathlib.Path(f"/sys/block/zram{self.number}")
        self.device = f"/dev/zram{self.number}"
        try:
            (self.block / "comp_algorithm").write_text("lz4")
            (self.block / "disksize").write_text(str(n_bytes))
            if not os.path.exists(self.device):
                os.mknod(self.device, 0o600 | 0o060000,
                         os.makedev(*map(int, (self.block / "dev").read_text().split(":"))))
            command("mkswap", self.device)
            self.swapping = True
            command("swapon", "-p", "32000", self.device)
        except (OSError, subprocess.CalledProcessError) as error:
            self.close()
            raise Unavailable(f"zram can't be set up: {error}") from error
        except BaseException:
            self.close()
            raise

    def begin(self):
        (self.block / "mem_used_max").write_text("0")

    def peak_bytes(self):
        """The most RAM it has held since begin()."""
        return int((self.block / "mm_stat").read_text().split()[4])

    def close(self):
        if self.number is None:
            return
        if self.swapping:
            command("swapoff", self.device, check=False)
        (self.block / "reset").write_text("1")
        (ZRAM_CONTROL / "hot_remove").write_text(str(self.number))
        self.number = None


class Zswap:
    """A swap file of our own, before which zswap compresses to RAM (lz4 where the kernel has it)."""

    name, codec = "zswap", "?"

    def __init__(self, n_bytes, directory):
        self.path = pathlib.Path(directory) / "swap"
        self.settings = {}
        self.swapping = False
        self.peak = 0
        if not (ZSWAP / "enabled").exists():
            raise Unavailable("no zswap in this kernel")
        try:
            with open(self.path, "wb") as file:
                os.posix_fallocate(file.fileno(), 0, n_bytes)
            self.path.chmod(0o600)
            command("mkswap", self.path)
            self.swapping = True
            command("swapon", "-p", "32000", self.path)
            self.set("compressor", "lz4", may_fail=True)
            self.set("max_pool_percent", "50")
            self.set("enabled", "Y")
            # Only now is it known: a kernel without lz4 takes the name until zswap begins.
            self.codec = (ZSWAP / "compressor").read_text().strip()
        except (OSError, subprocess.CalledProcessError) as error:
            self.close()
            raise Unavailable(f"zswap can't be set up: {error}") from error
        except BaseException:
            self.close()
            raise

    def set(self, name, value, may_fail=False):
        file = ZSWAP / name
        before = file.read_text().strip()
        try:
            file.write_text(value)
        except OSError:
            if not may_fail:
                raise
            return
        self.settings[name] = before

    def held_bytes(self):
        for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("Zswap:"):
                return int(line.split()[1]) << 10
        return 0

    def begin(self):
        self.peak = 0

    def sample(self):
        self.peak = max(self.peak, self.held_bytes())

    def peak_bytes(self):
        return self.peak

    def close(self):
        for name, value in reversed(self.settings.items()):
            (ZSWAP / name).write_text(value)
        self.settings = {}
        if self.swapping:
            command("swapoff", self.path, check=False)
        self.swapping = False
        self.path.unlink(missing_ok=True)


class Kernel:
    """Runs programs in a cgroup that swaps to compressed memory."""

    def __init__(self, kind, n_bytes, directory):
        if os.geteuid() != 0:
            raise Unavailable("only root can set up swap and a cgroup")
        if kind == "zram" and not ZRAM_CONTROL.exists():
            raise Unavailable("no zram in this kernel (modprobe zram)")
        self.cgroup = self.swap = None
        self.n_relieved = 0
        self.page_cluster = PAGE_CLUSTER.read_text()
        try:
            self.cgroup = Cgroup(f"quire-bench-{os.getpid()}")
            self.swap = Zram(n_bytes) if kind == "zram" else Zswap(n_bytes, directory)
        except BaseException:
            self.close()
            raise

    def readahead(self, log2_pages):
        PAGE_CLUSTER.write_text(str(log2_pages))

    def start(self, argv, **options):
        return self.cgroup.start(argv, **options)

    def watch(self, stop):
        """zswap's memory has no counter of its peak."""
        while hasattr(self.swap, "sample") and not stop.wait(0.005):
            self.swap.sample()

    def measure(self, workload, limit_bytes):
        """(what the workload measured, RAM that was used at most: the limit and what is compressed)

        Version 2 charges what zswap holds to the group, so there it lies within the limit.
        """
        self.cgroup.limit(limit_bytes)
        self.swap.begin()
        stop = threading.Event()
        relieved = []
        threads = [threading.Thread(target=lambda: relieved.append(
                       self.cgroup.relieve(limit_bytes, stop))),
                   threading.Thread(target=lambda: self.watch(stop))]
        for thread in threads:
            thread.start()
        try:
            figure = workload(self.start)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
            self.n_relieved += sum(relieved)
        is_charged = self.swap.name == "zswap" and not self.cgroup.is_old
        return figure, limit_bytes + (0 if is_charged else self.swap.peak_bytes())

    def close(self):
        with contextlib.ExitStack() as stack:  # whatever fails, the rest is done; last in, first out
            stack.callback(PAGE_CLUSTER.write_text, self.page_cluster)
            for part in (self.swap, self.cgroup):  # the group's programs hold the swap
                if part:
                    stack.callback(part.close)
            self.cgroup = self.swap = None

# SPDX-License-Identifier: Apache-2.0
"""The kernel's side of bench/pager: a memory cgroup with a limit, swapping to zram with lz4.

Everything that is set up is taken down again by close(), also after a signal: swap area, zram
device, cgroup and the changed vm.page-cluster.
"""
import os
import pathlib
import signal
import subprocess
import threading
import time

ZRAM_CONTROL = pathlib.Path("/sys/class/zram-control")
PAGE_CLUSTER = pathlib.Path("/proc/sys/vm/page-cluster")


class Unavailable(Exception):
    """What this machine lacks for the comparison."""


def mounted(kind, option=""):
    for line in pathlib.Path("/proc/mounts").read_text().splitlines():
        _, where, what, options = line.split()[:4]
        if what == kind and (not option or option in options.split(",")):
            return pathlib.Path(where)
    return None


class Cgroup:
    """One group with a limit, of whichever version this machine has for memory."""

    def __init__(self, name):
        old, new = mounted("cgroup", "memory"), mounted("cgroup2")
        if old:
            self.path, self.limit_file = old / name, "memory.limit_in_bytes"
        elif new and "memory" in (new / "cgroup.controllers").read_text().split():
            self.path, self.limit_file = new / name, "memory.max"
            (new / "cgroup.subtree_control").write_text("+memory")
        else:
            raise Unavailable("no memory cgroup is mounted")
        self.path.mkdir()
        swappiness = self.path / "memory.swappiness"  # only version 1 has its own
        if swappiness.exists():
            swappiness.write_text("100")

        self.oom_control = self.path / "memory.oom_control"
        if self.oom_control.exists():
            self.oom_control.write_text("1")

    def limit(self, n_bytes):
        (self.path / self.limit_file).write_text(str(n_bytes))

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

    def enter(self):
        """Called in the child, before it executes the program."""
        (self.path / "cgroup.procs").write_text(str(os.getpid()))

    def close(self):
        for pid in (self.path / "cgroup.procs").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        for _ in range(100):
            try:
                self.path.rmdir()
                return
            except OSError:
                time.sleep(0.05)


class Zram:
    """A compressed swap device of our own, beside whatever there is."""

    def __init__(self, n_bytes):
        self.number = None
        self.swapping = False
        try:
            self.number = int((ZRAM_CONTROL / "hot_add").read_text())
        except OSError as error:
            raise Unavailable(f"no zram device can be added ({error.strerror})") from error
        self.block = pathlib.Path(f"/sys/block/zram{self.number}")
        self.device = f"/dev/zram{self.number}"
        try:
            (self.block / "comp_algorithm").write_text("lz4")
            (self.block / "disksize").write_text(str(n_bytes))
            if not os.path.exists(self.device):
                os.mknod(self.device, 0o600 | 0o060000,
                         os.makedev(*map(int, (self.block / "dev").read_text().split(":"))))
            subprocess.run(["mkswap", self.device], check=True, capture_output=True)
            subprocess.run(["swapon", "-p", "32000", self.device], check=True,
                           capture_output=True)
            self.swapping = True
        except (OSError, subprocess.CalledProcessError) as error:
            self.close()
            raise Unavailable(f"zram can't be set up: {error}") from error

    def peak_bytes(self):
        """The most RAM it has held since reset_peak()."""
        return int((self.block / "mm_stat").read_text().split()[4])

    def reset_peak(self):
        (self.block / "mem_used_max").write_text("0")

    def close(self):
        if self.number is None:
            return
        if self.swapping:
            subprocess.run(["swapoff", self.device], check=False, capture_output=True)
        (self.block / "reset").write_text("1")
        (ZRAM_CONTROL / "hot_remove").write_text(str(self.number))
        self.number = None


class Kernel:
    """Runs programs in a cgroup that swaps to zram."""

    def __init__(self, n_bytes):
        if os.geteuid() != 0:
            raise Unavailable("only root can set up zram and a cgroup")
        if not ZRAM_CONTROL.exists():
            raise Unavailable("no zram in this kernel (modprobe zram)")
        self.cgroup = self.zram = None
        self.n_relieved = 0
        self.page_cluster = PAGE_CLUSTER.read_text()
        try:
            self.cgroup = Cgroup(f"quire-bench-{os.getpid()}")
            self.zram = Zram(n_bytes)
        except BaseException:
            self.close()
            raise

    def readahead(self, log2_pages):
        PAGE_CLUSTER.write_text(str(log2_pages))

    def run(self, argv, limit_bytes):
        """(standard output, wall seconds, RAM that zram held at most)"""
        self.cgroup.limit(limit_bytes)
        self.zram.reset_peak()
        stop = threading.Event()
        relieved = []
        relief = threading.Thread(
            target=lambda: relieved.append(self.cgroup.relieve(limit_bytes, stop)))
        relief.start()
        try:
            start = time.monotonic()
            done = subprocess.run(argv, stdout=subprocess.PIPE, check=False, timeout=600,
                                  preexec_fn=self.cgroup.enter)
            wall = time.monotonic() - start
        finally:
            stop.set()
            relief.join()
        self.n_relieved += sum(relieved)
        if done.returncode:
            raise RuntimeError(f"{argv[0]} ended with {done.returncode} in the cgroup")
        return done.stdout, wall, self.zram.peak_bytes()

    def run_within(self, argv, total_bytes, limit_bytes=None):
        """Finds the limit for which limit + zram is total_bytes; (limit, zram's bytes)."""
        limit = limit_bytes or total_bytes * 2 // 3
        for _ in range(4):
            _, _, used = self.run(argv, limit)
            off = total_bytes - (limit + used)
            if abs(off) <= total_bytes // 50:
                return limit, used
            # A byte more for the limit is about half a byte less in zram.
            limit = max(limit + 3 * off // 2, total_bytes // 8)
        return limit, used

    def close(self):
        for part in (self.cgroup, self.zram):
            if part:
                part.close()
        self.cgroup = self.zram = None
        PAGE_CLUSTER.write_text(self.page_cluster)

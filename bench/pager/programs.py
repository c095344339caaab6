# SPDX-License-Identifier: Apache-2.0
"""What bench/pager runs: each workload is a function that gets `start` and returns one figure.

start(argv, **options) runs a command on one of the sides, as subprocess.Popen does.
"""
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time

PATIENCE_SECONDS = 600


class Ended(Exception):
    """A program did not end well; status as of Popen."""

    def __init__(self, name, status):
        super().__init__(f"{name} ended with {status}")
        self.status = status


def finish(process, name):
    """Its standard output; kills it if it takes too long, or if this is interrupted."""
    try:
        out, _ = process.communicate(timeout=PATIENCE_SECONDS)
    except BaseException:
        process.kill()
        process.wait()
        raise
    if process.returncode:
        raise Ended(name, process.returncode)
    return out


def access(argv):
    """ns an access, as the program prints it."""
    def workload(start):
        out = finish(start(argv, stdout=subprocess.PIPE), "access")
        return json.loads(out)["ns_per_op"]
    return workload


def timed(argv, expected=None):
    """ms from the start to the end; what it prints must be the same each time."""
    seen = [expected]

    def workload(start):
        began = time.monotonic()
        out = finish(start(argv, stdout=subprocess.PIPE), argv[0])
        took = time.monotonic() - began
        if seen[0] is None:
            seen[0] = out
        if out != seen[0]:
            raise RuntimeError(f"{argv[0]} printed something else than the first time")
        return took * 1000
    return workload


PYTHON = """
import hashlib, random
random.seed(5)
index = {}
for i in range(120_000):
    index[f"key-{i * 7919 % 1_000_003}"] = [i, f"{random.getrandbits(200):x}", {"n": i}]
keys = sorted(index)
digest = hashlib.sha256()
for _ in range(60_000):
    value = index[keys[int(random.random() ** 3 * len(keys))]]
    digest.update(value[1].encode())
print(digest.hexdigest())
"""

# A table of 100 MB in memory, by two indexes; look-ups of which most concern a part of it, an
# update now and then, and sums over all.
SQLITE = """
import random, sqlite3
random.seed(7)
database = sqlite3.connect(":memory:")
database.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, grp INT, body BLOB)")
database.executemany("INSERT INTO item VALUES (?, ?, ?, ?)",
    ((i, f"name-{i * 7919 % 1_000_003}", i % 997,
      random.randbytes(200) + bytes(200)) for i in range(180_000)))
database.execute("CREATE INDEX by_name ON item (name)")
database.execute("CREATE INDEX by_group ON item (grp)")
total = 0
for i in range(40_000):
    at = int(random.random() ** 4 * 180_000)
    name = f"name-{at * 7919 % 1_000_003}"
    total += database.execute("SELECT id, body FROM item WHERE name = ?", (name,)).fetchone()[1][7]
    if i % 20 == 0:
        database.execute("UPDATE item SET grp = grp + 1 WHERE id = ?", (at,))
for grp in range(0, 997, 97):
    total += database.execute("SELECT sum(id + length(body)) FROM item WHERE grp = ?",
                              (grp,)).fetchone()[0]
total += database.execute("SELECT sum(length(name)) FROM item").fetchone()[0]
print(total)
"""


def interpreter():
    return "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable


def redis_command(path):
    """How to start a server: Debian's redis-tools has its binary, too, under another name."""
    server = path or shutil.which("redis-server")
    if server:
        return [server]
    tool = shutil.which("redis-check-rdb")
    if tool:
        return ["/bin/bash", "-c", 'exec -a redis-server "$0" "$@"', tool]
    return None


class RedisClient:
    """Just enough of the protocol, pipelined, over loopback."""

    def __init__(self, port, process):
        deadline = time.monotonic() + 60
        while True:
            try:
                self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        self.socket.settimeout(PATIENCE_SECONDS)
        self.replies = self.socket.makefile("rb")

    def send(self, commands):
        out = []
        for words in commands:
            out.append(b"*%d\r\n" % len(words))
            out += [b"$%d\r\n%s\r\n" % (len(word), word) for word in words]
        self.socket.sendall(b"".join(out))
        return [self.reply() for _ in commands]

    def reply(self):
        line = self.replies.readline()
        if line[:1] == b"$":
            size = int(line[1:])
            return self.replies.read(size + 2)[:-2] if size >= 0 else None
        if line[:1] not in (b"+", b":"):
            raise RuntimeError(f"redis says {line!r}")
        return line[1:-2]


N_KEYS = 100_000
N_GETS = 100_000
BATCH = 50


def redis_value(i):
    """900 bytes that compress to about half."""
    return hashlib.shake_128(b"%d" % i).digest(450) + bytes(450)


def redis_load(client, values):
    """Sets all keys, then gets keys of which most lie in a part, and compares them."""
    for at in range(0, N_KEYS, BATCH):
        client.send([(b"SET", b"key:%d" % i, values[i]) for i in range(at, at + BATCH)])
    state = 1
    for _ in range(N_GETS // BATCH):
        keys = []
        for _ in range(BATCH):
            state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
            keys.append(int((state / (1 << 64)) ** 3 * N_KEYS) * 7919 % N_KEYS)
        for key, got in zip(keys, client.send([(b"GET", b"key:%d" % key) for key in keys])):
            if got != values[key]:
                raise RuntimeError(f"redis gave something else for key:{key}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def redis(command, directory):
    """ms for a load of 100 000 sets and as many gets from one client."""
    values = []

    def workload(start):
        if not values:
            values.extend(redis_value(i) for i in range(N_KEYS))
        port = free_port()
        process = start([*command, "--port", str(port), "--bind", "127.0.0.1", "--save", "",
                         "--appendonly", "no", "--dir", str(directory)],
                        stdout=subprocess.DEVNULL)
        try:
            client = RedisClient(port, process)
            began = time.monotonic()
            redis_load(client, values)
            took = time.monotonic() - began
            client.socket.sendall(b"*2\r\n$8\r\nSHUTDOWN\r\n$6\r\nNOSAVE\r\n")
            finish(process, "redis-server")
            return took * 1000
        except (OSError, RuntimeError, ValueError) as error:
            process.kill()
            status = process.wait()
            raise Ended(f"redis-server ({error})", status) from error
        except BaseException:
            process.kill()
            process.wait()
            raise
    return workload


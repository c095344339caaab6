# SPDX-License-Identifier: Apache-2.0
"""redis-server: loaded by redis-benchmark and by this test, saved by a fork while it is written to.

The same deterministic load goes to a plain server and to one under Quire; DEBUG DIGEST, which
covers every key and value, must be the same in both, and again after each loads its own dump.
"""
import os
import socket
import subprocess
import threading
import time

import harness

PATIENCE_SECONDS = harness.PATIENCE_SECONDS

N_KEYS = 60_000


class Client:
    """Just enough of RESP for this test, pipelined."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE_SECONDS)
        self.socket.connect(path)
        self.replies = self.socket.makefile("rb")

    def send(self, commands):
        """Sends a batch and returns its replies."""
        out = []
        for command in commands:
            words = [str(word).encode() for word in command]
            out.append(b"*%d\r\n" % len(words))
            out += [b"$%d\r\n%s\r\n" % (len(word), word) for word in words]
        self.socket.sendall(b"".join(out))
        return [self.reply() for _ in commands]

    def __call__(self, *command):
        return self.send([command])[0]

    def reply(self):
        line = self.replies.readline().rstrip(b"\r\n")
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            raise harness.Failure(f"redis says: {rest.decode()}")
        if kind == b"$":
            size = int(rest)
            return None if size < 0 else self.replies.read(size + 2)[:-2]
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        if kind not in (b"+", b":"):
            raise harness.Failure(f"redis closed the connection or says {line!r}")
        return rest


def connect(path, server):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and server.is_alive():
        try:
            client = Client(path)
            client("PING")
            return client
        except (OSError, harness.Failure):
            time.sleep(0.05)
    raise harness.Failure("the server does not answer")


def load(client, keys, salt):
    """Strings, hashes, lists and sorted sets, half of each value noise-like; then some deletes."""
    batch = []
    for i in keys:
        noise = f"{(i * 2654435761 + salt) & 0xffffffff:08x}{(i * 40503 + salt) & 0xffff:04x}"
        batch.append(("SET", f"string:{i}", (noise * 100)[:500 + i % 700]))
        if i % 4 == 0:
            batch.append(("HSET", f"hash:{i // 64}", f"field{i}", noise))
        if i % 5 == 0:
            batch.append(("RPUSH", f"list:{i // 500}", noise * 3))
        if i % 6 == 0:
            batch.append(("ZADD", f"sorted:{i // 300}", i * 37 % 1001, noise))
        if i % 7 == 0:
            batch.append(("DEL", f"string:{i // 2}"))
        if len(batch) > 500:
            client.send(batch)
            batch = []
    client.send(batch)


def wait_for_save(client):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        info = client("INFO", "persistence").decode()
        if "rdb_bgsave_in_progress:0" in info:
            if "rdb_last_bgsave_status:ok" not in info:
                raise harness.Failure("the background save failed")
            return
        time.sleep(0.02)
    raise harness.Failure("the background save does not end")


def serve(case, start, path, work):
    """Runs a server (start() blocks until it has ended) while work(client) does its part."""
    result = {}

    def run():
        try:
            result["run"] = start()
        except harness.Failure as failure:
            result["failure"] = failure

    server = threading.Thread(target=run)
    server.start()
    try:
        client = connect(path, server)
        result["work"] = work(client)
        client.socket.sendall(b"*2\r\n$8\r\nSHUTDOWN\r\n$6\r\nNOSAVE\r\n")
    except (OSError, harness.Failure) as failure:
        # The server's own end is the better reason, if it has ended.
        server.join(timeout=10)
        server.is_alive() and end(path)
        server.join(timeout=PATIENCE_SECONDS)
        run = result.get("run")
        raise harness.Failure(f"{failure}; the server ended with "
                              f"{run.measured.status if run else '?'}\n"
                              f"    {run.tail() if run else result.get('failure')}") from failure
    server.join()
    if "failure" in result:
        raise result["failure"]
    case.check(result["run"].measured.status == 0,
               f"the server ended with {result['run'].measured.status}\n"
               f"    {result['run'].tail()}")
    return result["run"], result["work"]


def end(path):
    """Asks a server that misbehaves to go."""
    try:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(10)
        client.connect(path)
        client.sendall(b"SHUTDOWN NOSAVE\r\n")
    except OSError:
        pass


def test(case):
    binary = case.need("redis-server", "redis-check-rdb")
    benchmark = case.need("redis-benchmark")
    # One binary is server and checker, by the name it is called.
    server = case.file("redis-server")
    os.symlink(binary, server)
    path = case.file("socket")

    def argv(dump):
        return [server, "--port", "0", "--unixsocket", path, "--save", "", "--dir", case.directory,
                "--dbfilename", dump, "--appendonly", "no", "--daemonize", "no",
                "--enable-debug-command", "yes", "--activerehashing", "no"]

    def work(client):
        load(client, range(N_KEYS // 2), salt=1)
        client("BGSAVE")
        load(client, range(N_KEYS // 2, N_KEYS), salt=1)  # while the child writes the dump
        load(client, range(0, N_KEYS, 3), salt=2)
        wait_for_save(client)
        subprocess.run([benchmark, "-s", path, "-n", "20000", "-c", "20", "-P", "16", "-q",
                        "-t", "get,lpush,sadd", "-d", "100"], check=True,
                       timeout=PATIENCE_SECONDS, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        client.send([("DEL", "mylist"), ("DEL", "myset")])  # what those tests leave
        digest = client("DEBUG", "DIGEST")
        client("BGSAVE")
        wait_for_save(client)
        return digest

    def reload(client):
        return client("DEBUG", "DIGEST")

    options = {"not_counted": ("quire", "redis-benchmark")}
    plain, digest = serve(case, lambda: case.plain(argv("plain.rdb"), **options), path, work)
    budget = case.third(plain)
    run, paged_digest = serve(case, lambda: case.under(argv("paged.rdb"), budget, **options), path,
                              work)
    case.check(digest == paged_digest,
               f"DEBUG DIGEST is {digest} plainly, {paged_digest} under Quire")
    case.check_paged(run)
    case.check_bound(run)
    case.check_clean(run)
    again, loaded = serve(case, lambda: case.under(argv("paged.rdb"), budget, **options), path,
                          reload)
    case.check(digest == loaded, f"DEBUG DIGEST after loading the dump is {loaded}, was {digest}")
    case.check_bound(again)
    case.report(plain, run)

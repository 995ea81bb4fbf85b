"""Goal: getting and putting values of 1 MiB and 16 MiB and looking up 512 keys in a call is at least
twice as fast as in the better of Mooncake Store and LMCache, each.
Method: all systems run at the same time in one network namespace over TCP with Reno, each with one
server that keeps values in DRAM, one replica, and one client process; a sample of one is followed by
a sample of the next. How many values a side asks for at a time is chosen for each side alone, by
short samples before: its best. Medians of the samples count.

What each verifies: KDN checks a checksum of every tile it loads (and the values once, before
anything is timed); Mooncake, LMCache and Redis verify nothing in what they ship as default. What each
does: KDN and Mooncake ask a directory where a value is and then fetch it; LMCache and Redis are one
server. A put is over when its value can be read. Keys are ready in all but KDN, which makes them from
tokens (16 a chunk here) in every call. Redis is shown and not counted: it is no KV cache's store.

usage: peers_bench.py PROGRAMS PEERS [--json FILE] [--rounds N] [--seconds S] [--ops A,B]
PROGRAMS is the folder of kdnctl and kdn-bench, PEERS one with the venvs mooncake and lmcache.
"""
import argparse
import json
import os
import platform
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from peer_loop import ANSWER, LOOKUP_KEYS

HERE = Path(__file__).resolve().parent
BAR = 2.0
MASTER_PORT, LMCACHE_PORT, REDIS_PORT = 50051, 7777, 6399
OPS = {  # name: (op, bytes of a value)
    "get_1mib": ("get", 1 << 20),
    "get_16mib": ("get", 16 << 20),
    "put_1mib": ("put", 1 << 20),
    "put_16mib": ("put", 16 << 20),
    "lookup_512": ("lookup", 4096),
}


class Missing(Exception):
    """A peer that cannot be had or run here, and why."""


def wait_port(port, process, seconds=30):
    import socket
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise Missing(f"its server ended with {process.returncode}")
        with socket.socket() as probe:
            probe.settimeout(0.2)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        select.select([], [], [], 0.05)
    raise Missing("its server did not listen in time")


class Peer:
    """A peer's client process, which takes commands (peer_loop.py)."""

    def __init__(self, command, log, env=None):
        self.log = log
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=open(log, "ab"), text=True, cwd=HERE,
                                        env={**os.environ, **(env or {})})
        self.answer(60)

    def answer(self, seconds):
        end = time.monotonic() + seconds
        while True:
            if not select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))[0]:
                raise Missing(f"no answer in {seconds} s")
            line = self.process.stdout.readline()
            if not line:
                tail = Path(self.log).read_text(errors="replace").strip().splitlines()[-1:]
                raise Missing(f"its client ended: {' '.join(tail)}")
            if line.startswith(ANSWER):
                return json.loads(line[len(ANSWER):])

    def rate(self, **command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        answer = self.answer(90)
        if "error" in answer:
            raise Missing(answer["error"])
        return answer["rate"]


class System:
    """One side. configs: what may be varied for its best; rate(): units a second of one sample."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.processes = []

    def start(self, command, name, env=None, **options):
        log = open(self.folder / f"{name}.log", "ab")
        process = subprocess.Popen(command, stdout=options.pop("stdout", log), stderr=log, cwd=HERE,
                                   env={**os.environ, **(env or {})}, **options)
        self.processes.append(process)
        return process

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()


class Kdn(System):
    name = "KDN"

    def __init__(self, folder, programs, congestion):
        super().__init__(folder)
        self.programs, self.congestion = programs, congestion
        self.cluster = self.folder / "kdn"
        done = subprocess.run([programs / "kdnctl", "--cluster", self.cluster, "cluster", "up", "--nodes",
                               "1", "--replicas", "1", "--dram-mib", "2560", "--set",
                               "node.write_mode=dram_only"], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"peers_bench: no cluster: {done.stderr}")
        self.seed = 1000
        self.stored = set()

    def bench(self, *arguments):
        done = subprocess.run([self.programs / "kdn-bench", "--cluster", self.cluster, "--output", "json",
                               *self.congestion, *map(str, arguments)], capture_output=True, text=True,
                              check=False)
        if done.returncode != 0:
            sys.exit(f"peers_bench: kdn-bench ended with {done.returncode}: {done.stderr}")
        return json.loads(done.stdout)

    def configs(self, op):
        return [{"clients": n} for n in ([1, 2, 4, 8] if op != "lookup" else [1, 2, 4])]

    def rate(self, op, size, seconds, config):
        common = ["--clients", config["clients"], "--warmup", "0.1", "--duration", seconds]
        if op == "get":
            records = ["--records", 64 if size < 4 << 20 else 16, "--size", size, "--popularity",
                       "uniform", "--workload", "c"]
            if size not in self.stored:  # values compared once; then the library's checksums alone
                self.bench(*records, *common)
                self.stored = {size}
            row = self.bench(*records, *common, "--skip-load", "--verify-every", 0)["operations"]["read"]
            value = row["mb_per_second"] * 1e6
        elif op == "put":
            self.stored = set()  # puts evict what was there
            self.seed += 1
            row = self.bench("--mix", "insert=1", "--records", 1, "--size", size, "--seed", self.seed,
                             *common)["operations"].get("insert")
            value = row["mb_per_second"] * 1e6 if row else 0.0
        else:
            chains = ["--mix", "lookup=1", "--records", 1, "--chains", 1, "--chain-chunks", LOOKUP_KEYS,
                      "--size", size, "--seed", 7]
            load = [] if "lookup" not in self.stored else ["--skip-load"]
            self.stored.add("lookup")
            row = self.bench(*chains, *common, *load)["operations"]["lookup"]
            value = row["ops_per_second"] * LOOKUP_KEYS
        if row is None:
            return 0.0  # none ended within a short sample
        if row["count"] != row["done"]:
            sys.exit(f"peers_bench: KDN did not do all that was asked: {row}")
        return value

    def stop(self):
        subprocess.run([self.programs / "kdnctl", "--cluster", self.cluster, "cluster", "down"],
                       capture_output=True, check=False)


class Mooncake(System):
    name = "Mooncake"

    def __init__(self, folder, peers):
        super().__init__(folder)
        python = peers / "mooncake/bin/python"
        if not python.exists():
            raise Missing("not installed")
        found = list((peers / "mooncake").glob("lib/python*/site-packages/mooncake/mooncake_master"))
        master = self.start([found[0], f"--rpc_port={MASTER_PORT}", "--metrics_port=9003"], "master")
        wait_port(MASTER_PORT, master)
        at = f"127.0.0.1:{MASTER_PORT}"
        self.clients = {}
        # Its pool of connections is off by default, and better for some sizes only: both are tried.
        for pool in ("0", "1"):
            env = {"MC_TCP_ENABLE_CONNECTION_POOL": pool}
            if pool == "0":
                owner = self.start([python, "mooncake_peer.py", "owner", at], "owner", env=env,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                if not select.select([owner.stdout], [], [], 60)[0]:
                    raise Missing("the owner of its segment did not start")
            client = Peer([python, "mooncake_peer.py", "client", at], self.folder / f"client{pool}.log",
                          env)
            self.processes.append(client.process)
            self.clients[pool] = client

    def configs(self, op):
        shapes = [(1, 1)] if op == "lookup" else [(1, 1), (1, 4), (1, 16), (2, 1), (4, 1)]
        return [{"pool": pool, "threads": t, "batch": b} for pool in ("0", "1") for t, b in shapes]

    def rate(self, op, size, seconds, config):
        return self.clients[config["pool"]].rate(op=op, bytes=size, threads=config["threads"],
                                                 batch=config["batch"], seconds=seconds)


class LMCache(System):
    name = "LMCache"

    def __init__(self, folder, peers):
        super().__init__(folder)
        python = peers / "lmcache/bin/python"
        if not python.exists():
            raise Missing("not installed")
        server = self.start([python, "-m", "lmcache.v1.server", "127.0.0.1", str(LMCACHE_PORT)],
                            "lmcache-server")
        wait_port(LMCACHE_PORT, server)
        self.client = Peer([python, "lmcache_peer.py", "127.0.0.1", str(LMCACHE_PORT)],
                           self.folder / "lmcache-client.log")
        self.processes.append(self.client.process)

    def configs(self, op):
        return [{"threads": n} for n in ([1] if op == "lookup" else [1, 2, 4])]

    def rate(self, op, size, seconds, config):
        return self.client.rate(op=op, bytes=size, threads=config["threads"], batch=1, seconds=seconds)


class Redis(System):
    name = "Redis"

    def __init__(self, folder, _):
        super().__init__(folder)
        if not shutil.which("redis-server") or not shutil.which("redis-benchmark"):
            raise Missing("not installed")
        server = self.start(["redis-server", "--port", str(REDIS_PORT), "--save", "", "--appendonly",
                             "no", "--bind", "127.0.0.1"], "redis")
        wait_port(REDIS_PORT, server)

    def configs(self, op):
        return [{"clients": n} for n in (1, 2, 4, 16)]

    def rate(self, op, size, seconds, config):
        def requests(count, *command):
            done = subprocess.run(["redis-benchmark", "-p", str(REDIS_PORT), "-n", str(count), "-c",
                                   str(config["clients"]), "-d", str(size), "--csv", *command],
                                  capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise Missing(done.stderr.strip())
            return float(done.stdout.strip().splitlines()[-1].split('","')[1])

        if op == "lookup":  # batches of 64 keys, as many calls as make 512
            keys = [f"key:{i}" for i in range(64)]
            return requests(int(20000 * seconds), "EXISTS", *keys) * len(keys)
        count = max(8, int(seconds * (1.5e9 / size)))
        requests(1, "-t", "set")
        return requests(count, "-t", op.replace("put", "set")) * size


def best_config(system, op, size):
    """The config that a short sample says is best; each is warmed up by it, too."""
    tried = [(system.rate(op, size, 0.3, config), config) for config in system.configs(op)]
    return max(tried, key=lambda pair: pair[0])[1]


def compare(systems, name, rounds, seconds, skipped):
    """{system: [units a second]} of one op, sides in turn, and what each was run with."""
    op, size = OPS[name]
    configs, samples = {}, {}
    for system in list(systems):
        try:
            configs[system.name] = best_config(system, op, size)
            samples[system.name] = []
        except Missing as why:
            skipped[f"{system.name} {name}"] = str(why)
    for _ in range(rounds):
        for system in systems:
            if system.name not in configs:
                continue
            try:
                samples[system.name].append(system.rate(op, size, seconds, configs[system.name]))
            except Missing as why:
                skipped[f"{system.name} {name}"] = str(why)
                del configs[system.name], samples[system.name]
    return configs, samples


def machine():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def use_reno():
    path = Path("/proc/sys/net/ipv4/tcp_congestion_control")
    try:
        path.write_text("reno")
    except OSError:
        pass
    return path.read_text().strip()


def result_row(name, configs, samples):
    """One bar: ours against the better peer. None without a peer."""
    medians = {system: statistics.median(values) for system, values in samples.items()}
    peers = {system: rate for system, rate in medians.items() if system in ("Mooncake", "LMCache")}
    if not peers:
        return None, medians
    better = max(peers, key=peers.get)
    ratio = medians["KDN"] / peers[better]
    return {"what": name, "ours": medians["KDN"], "theirs": peers[better], "peer": better, "ratio": ratio,
            "bar": BAR, "holds": ratio >= BAR, "medians": medians, "samples": samples,
            "configs": configs}, medians


def text_of(rate, op):
    return f"{rate / 1e6:.2f} M keys/s" if op == "lookup" else f"{rate / 1e9:.2f} GB/s"


def run(arguments, systems, skipped):
    rows = []
    for name in arguments.ops:
        configs, samples = compare(systems, name, arguments.rounds, arguments.seconds, skipped)
        row, medians = result_row(name, configs, samples)
        shown = ", ".join(f"{s} {text_of(r, OPS[name][0])} {configs[s]}" for s, r in medians.items())
        verdict = "no peer to compare with" if row is None else \
            f"{row['ratio']:.2f} x {row['peer']}, bar {BAR:g}: {'holds' if row['holds'] else 'below'}"
        print(f"{name}: {verdict}\n    {shown}", flush=True)
        if row:
            rows.append(row)
    return rows


def write(arguments, rows, skipped, congestion):
    tightest = min(rows, key=lambda row: row["ratio"])
    result = {"name": "peers_bench", "group": "peers", "ours": tightest["ours"],
              "theirs": tightest["theirs"], "unit": "bytes/s or keys/s", "ratio": tightest["ratio"],
              "bar": BAR, "holds": all(row["holds"] for row in rows), "command": " ".join(sys.argv[1:]),
              "machine": machine(), "congestion": congestion, "bars": rows, "skipped": skipped}
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(result, indent=2) + "\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("programs", type=Path)
    parser.add_argument("peers", type=Path)
    parser.add_argument("--json")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--ops", type=lambda text: text.split(","), default=list(OPS))
    arguments = parser.parse_args()
    arguments.programs = arguments.programs.resolve()
    arguments.peers = arguments.peers.resolve()
    congestion = use_reno()
    print(f"TCP congestion control of all sides: {congestion}", flush=True)
    skipped = {}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory() as folder:
        systems = [Kdn(folder, arguments.programs, ["--congestion", "reno"] if congestion == "reno" else [])]
        try:
            for peer in (Mooncake, LMCache, Redis):
                try:
                    systems.append(peer(folder, arguments.peers))
                except Missing as why:
                    skipped[peer.name] = str(why)
                    print(f"{peer.name}: skipped: {why}", flush=True)
            rows = run(arguments, systems, skipped)
        finally:
            for system in systems:
                system.stop()
    for what, why in skipped.items():
        print(f"skipped: {what}: {why}")
    if not rows:
        print("peers_bench: no peer runs on this machine")
        return 77
    write(arguments, rows, skipped, congestion)
    return 0 if all(row["holds"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

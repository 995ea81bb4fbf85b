"""Goal: what docs/operations.md says is exported and what coordinator, node and client export are the
same metrics, of the same kinds; and the dashboard shows none that there is not.
Method: a cluster of real processes that is put to work; its /metrics, and the client's through kdn-bench,
against the tables of the page.

usage: metrics_test.py PROGRAM_FOLDER SOURCE_FOLDER [unittest arguments]
"""
import json
import random
import re
import socket
import subprocess
import sys
import tempfile
import unittest
import urllib.request
from pathlib import Path

PROGRAMS = SOURCE = Path()
ROW = re.compile(r"^\| `(kdn_\w+)[^`]*` \| (\w+) \|", re.M)
TYPE = re.compile(r"^# TYPE (\w+) (\w+)$", re.M)


def free_port():
    """Below the range from which the kernel gives ports to connections of other tests."""
    while True:
        port = random.randrange(15000, 32000)
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def documented(title):
    page = (SOURCE / "docs/operations.md").read_text()
    section = page.split(f"\n## {title}\n")[1].split("\n## ")[0]
    return dict(ROW.findall(section))


def run(program, *arguments):
    return subprocess.run([PROGRAMS / program, *arguments], capture_output=True, timeout=120,
                          check=False, text=True)


class Metrics(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.cluster = str(Path(cls.folder.name) / "cluster")
        ports = [free_port(), free_port()]
        up = run("kdnctl", "--cluster", cls.cluster, "cluster", "up", "--nodes", "1", "--dram-mib", "64",
                 "--set", f"coordinator.status_listen=127.0.0.1:{ports[0]}",
                 "--set", f"node.status_listen=127.0.0.1:{ports[1]}")
        assert up.returncode == 0, up.stderr
        work = run("kdn-bench", "--cluster", cls.cluster, "--workload", "a", "--records", "20", "--size",
                   "64KiB", "--warmup", "0", "--duration", "0.5", "--client-metrics", "--output", "json")
        assert work.returncode == 0, work.stderr
        cls.client = work.stderr
        cls.bench = json.loads(work.stdout)
        cls.pages = [urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20).read().decode()
                     for port in ports]

    @classmethod
    def tearDownClass(cls):
        run("kdnctl", "--cluster", cls.cluster, "cluster", "down")
        cls.folder.cleanup()

    def test_the_coordinators_are_the_documented_ones(self):
        self.assertEqual(dict(TYPE.findall(self.pages[0])), documented("Metrics of the coordinator"))

    def test_a_nodes_are_the_documented_ones(self):
        self.assertEqual(dict(TYPE.findall(self.pages[1])), documented("Metrics of a node"))

    def test_the_clients_are_the_documented_ones(self):
        self.assertEqual(dict(TYPE.findall(self.client)), documented("Metrics of the client"))

    def test_they_count_what_was_done(self):
        def value(text, name):
            return sum(float(line.split()[-1]) for line in text.splitlines()
                       if re.match(re.escape(name) + r"[{ ]", line))
        rows = self.bench["operations"]
        reads = rows["read"]["count"]
        self.assertGreater(reads, 0)
        self.assertGreaterEqual(value(self.client, "kdn_client_loads_total"), reads)
        self.assertGreaterEqual(value(self.client, "kdn_client_load_seconds_count"), reads)
        self.assertGreaterEqual(value(self.pages[1], "kdn_node_gets_total"), reads)
        self.assertGreaterEqual(value(self.pages[1], "kdn_node_get_bytes_total"), reads * 65536)
        calls = 'kdn_coordinator_call_seconds_count{call="put commit"}'
        self.assertGreaterEqual(value(self.pages[0], calls), rows["update"]["count"] + 20)

    def test_the_dashboard_shows_only_what_is_exported(self):
        names = set()
        for title in ("Metrics of the coordinator", "Metrics of a node", "Metrics of the client"):
            names |= set(documented(title))
        board = json.loads((SOURCE / "cluster-configs/grafana/kdn.json").read_text())
        shown = set()
        for panel in board["panels"]:
            for target in panel["targets"]:
                shown |= set(re.findall(r"\bkdn_\w+", target["expr"]))
        self.assertGreater(len(shown), 20)
        unknown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown} - names
        self.assertEqual(unknown, set())


if __name__ == "__main__":
    PROGRAMS, SOURCE = Path(sys.argv.pop(1)), Path(sys.argv.pop(1))
    unittest.main()

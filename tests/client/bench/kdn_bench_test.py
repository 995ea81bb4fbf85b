"""Goal: kdn-bench loads a running cluster as it is told, tells the truth about it, and ends with what
an operator or a script can act on.
Method: a cluster of real processes; what the bench says is held against its own arithmetic, against
the cluster's counters, and against a node that is stopped while it runs.

usage: kdn_bench_test.py FOLDER_OF_PROGRAMS [unittest arguments]
"""
import json
import os
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

PROGRAMS = Path()
WRONG_USAGE, NO_ANSWER, WRONG_BYTES = 2, 4, 5
SHORT = ["--warmup", "0.2", "--duration", "1"]


def run(program, *arguments):
    return subprocess.run([PROGRAMS / program, *arguments], capture_output=True, timeout=120,
                          check=False, text=True)


def mapped_by(pids):
    """How many pieces of clients' memory these processes have mapped."""
    return sum(Path(f"/proc/{pid}/maps").read_text().count("/memfd:kdn") for pid in pids)


class KdnBench(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.cluster = str(Path(cls.folder.name) / "cluster")
        up = run("kdnctl", "--cluster", cls.cluster, "--output", "json", "cluster", "up", "--nodes", "2",
                 "--dram-mib", "256", "--replicas", "1")
        assert up.returncode == 0, up.stderr
        cls.daemons = {d["name"]: d for d in json.loads(up.stdout)["daemons"]}

    @classmethod
    def tearDownClass(cls):
        run("kdnctl", "--cluster", cls.cluster, "cluster", "down")
        cls.folder.cleanup()

    def bench(self, *arguments):
        done = run("kdn-bench", "--cluster", self.cluster, "--output", "json", *arguments)
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
        return json.loads(done.stdout)

    def assert_clean(self, report):
        for row in report["operations"].values():
            for trouble in ("miss", "short", "failed", "wrong", "not_started"):
                self.assertEqual(row[trouble], 0, row)
            self.assertEqual(row["count"], row["done"])
            latency = row["latency_us"]
            ordered = [latency[q] for q in ("min", "p50", "p90", "p99", "p99_9", "max")]
            self.assertEqual(ordered, sorted(ordered))
            self.assertGreater(latency["min"], 10)
            self.assertEqual(latency["count"], row["count"])

    def test_every_kind_of_operation_ends_well_and_is_verified(self):
        report = self.bench("--mix", "read=4,update=1,insert=1,rmw=1,scan=1,lookup=1", "--records", "40",
                            "--size", "64KiB", "--chains", "3", "--chain-chunks", "5", "--clients", "3",
                            *SHORT)
        self.assertEqual(sorted(report["operations"]),
                         ["insert", "lookup", "read", "rmw", "scan", "update"])
        self.assert_clean(report)
        reads = report["operations"]["read"]
        self.assertGreaterEqual(report["bytes_verified"], reads["count"] * 65536)
        self.assertAlmostEqual(reads["ops_per_second"], reads["ended_in_time"] / report["seconds"])
        self.assertEqual(reads["bytes_in_time"], reads["ended_in_time"] * 65536)
        self.assertEqual(report["parameters"]["chain_chunks"], 5)

    def test_objects_of_several_sizes_and_of_a_models_geometry(self):
        self.assert_clean(self.bench("--records", "30", "--size", "32KiB:5,100KiB-300KiB:2,1MiB:1",
                                     "--workload", "a", "--popularity", "uniform", *SHORT))
        for levels in (["--store-level", "exact"], ["--store-level", "draft"],
                       ["--store-level", "all", "--read-level", "standard"], ["--store-level", "all"]):
            self.assert_clean(self.bench("--records", "6", "--geometry", "4x2x64", *levels, *SHORT,
                                         "--seed", str(hash(tuple(levels)) % 1000)))

    def test_a_node_of_this_host_can_be_asked_through_sockets(self):
        nodes = [d["pid"] for n, d in self.daemons.items() if n != "coordinator"]
        before = mapped_by(nodes)  # what other clients left is unmapped, but not awaited
        for options in (["--seed", "41", "--no-shared-memory", "--io-threads", "2"], ["--seed", "42"]):
            bench = subprocess.Popen(
                [PROGRAMS / "kdn-bench", "--cluster", self.cluster, "--output", "json", "--records",
                 "20", "--size", "256KiB", *SHORT, *options],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            # Its records are stored by now, and it has met the nodes.
            self.assertIn("stored", bench.stderr.readline())
            self.assertIn("running", bench.stderr.readline())
            mapped = mapped_by(nodes)
            out, _ = bench.communicate(timeout=60)
            report = json.loads(out)
            self.assert_clean(report)
            shared = "--no-shared-memory" not in options
            self.assertEqual(report["parameters"]["shared_memory"], shared)
            if not shared:
                self.assertLessEqual(mapped, before)
            else:
                self.assertGreater(mapped, 0)

    def test_records_of_an_earlier_run_are_read_again(self):
        same = ["--records", "20", "--size", "64KiB", "--seed", "77"]
        loaded = self.bench(*same, "--load-only")
        self.assertEqual(loaded["operations"], {})
        self.assert_clean(self.bench(*same, "--skip-load", *SHORT))
        # Others' are not there: that is a miss, and nothing worse.
        report = self.bench(*same[:-1], "78", "--skip-load", *SHORT)
        row = report["operations"]["read"]
        self.assertEqual(row["miss"], row["count"])

    def test_an_open_loop_shows_a_stall_that_a_closed_one_hides(self):
        """A node is stopped for most of a second; both loops read all the while."""
        def measure(*loop):
            bench = subprocess.Popen(
                [PROGRAMS / "kdn-bench", "--cluster", self.cluster, "--output", "json", "--records",
                 "20", "--size", "64KiB", "--clients", "1", "--warmup", "0", "--duration", "4",
                 "--seed", "99", "--skip-load", *loop],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            nodes = [d["pid"] for n, d in self.daemons.items() if n != "coordinator"]
            try:
                self.assertIn("running", bench.stderr.readline())
                with self.assertRaises(subprocess.TimeoutExpired):
                    bench.wait(0.5)
                for pid in nodes:
                    os.kill(pid, signal.SIGSTOP)
                with self.assertRaises(subprocess.TimeoutExpired):
                    bench.wait(0.8)
            finally:
                for pid in nodes:
                    os.kill(pid, signal.SIGCONT)
            out, _ = bench.communicate(timeout=60)
            self.assertEqual(bench.returncode, 0)
            return json.loads(out)["operations"]["read"]

        self.bench("--records", "20", "--size", "64KiB", "--seed", "99", "--load-only")
        opened = measure("--rate", "100", "--arrivals", "constant")
        closed = measure()
        self.assertEqual(opened["count"], 400)
        for row in (opened, closed):
            self.assertGreater(row["latency_us"]["max"], 700_000)
        # A fifth of the time: 80 of 400 arrivals met it, on average for 0.4 s.
        self.assertGreater(opened["latency_us"]["p90"], 200_000)
        self.assertLess(closed["latency_us"]["p90"], 200_000)
        self.assertIn("start_delay_us", opened)

    def test_wrong_bytes_end_it_with_a_code_of_their_own(self):
        report = self.bench("--records", "4", "--size", "64KiB", "--histograms", *SHORT)
        path = Path(self.folder.name) / "run.json"
        path.write_text(json.dumps(report))
        merged = run("kdn-bench", "--merge", path, path, "--output", "json")
        self.assertEqual(merged.returncode, 0, merged.stderr)
        self.assertEqual(json.loads(merged.stdout)["operations"]["read"]["count"],
                         2 * report["operations"]["read"]["count"])
        report["operations"]["read"]["wrong"] = 1
        path.write_text(json.dumps(report))
        merged = run("kdn-bench", "--merge", path)
        self.assertEqual(merged.returncode, WRONG_BYTES)
        self.assertIn("never stored", merged.stderr)

    def test_nonsense_is_refused_and_a_missing_cluster_told(self):
        for arguments in (["--clients", "0"], ["--mix", "fly=1"], ["--size", "12"], ["--rate", "-1"],
                          ["--workload", "z"], ["--cluster", "/nowhere"], ["--unknown"],
                          ["--workload", "e"], ["--merge", "/nowhere"]):
            done = run("kdn-bench", "--cluster", self.cluster, *arguments)
            self.assertEqual(done.returncode, WRONG_USAGE, arguments)
            self.assertTrue(done.stderr, arguments)
        config = Path(self.folder.name) / "away.toml"
        text = (Path(self.cluster) / "kdnctl.toml").read_text()
        config.write_text(text.replace(self.daemons["coordinator"]["endpoints"][0], "127.0.0.1:1"))
        done = run("kdn-bench", "--config", config, "--timeout-ms", "300")
        self.assertEqual(done.returncode, NO_ANSWER)
        self.assertIn("does not answer", done.stderr)

    def test_help_names_every_option_that_json_tells(self):
        told = run("kdn-bench", "--help").stdout
        report = self.bench("--records", "2", "--size", "64KiB", "--duration", "0.1", "--warmup", "0")
        names = {"warmup_s": "warmup", "duration_s": "duration", "drain_s": "drain",
                 "shared_memory": "no_shared_memory"}
        for name in report["parameters"]:
            if name != "loop":
                self.assertIn("--" + names.get(name, name).replace("_", "-"), told)


if __name__ == "__main__":
    PROGRAMS = Path(sys.argv.pop(1))
    unittest.main()

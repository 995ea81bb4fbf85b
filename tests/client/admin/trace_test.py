"""Goal: one trace id, given to the client, is found in the lines of everything that took part in an
operation: client, coordinator, the node that was sent to, the one it was forwarded to, both disks.
Method: a cluster of real processes that log all requests; a file is put and, after the nodes have been
started anew so that nothing is left in DRAM, got again; then all logs are searched for the ids.

usage: trace_test.py KDNCTL [unittest arguments]
"""
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

KDNCTL = ""
PUT, GET = "00112233445566778899aabbccddeeff", "ffeeddccbbaa99887766554433221100"
LINE = re.compile(r'^\S+Z (?P<level>\w+) (?P<who>[\w-]+) event="(?P<event>[^"]+)"(?P<fields>.*)$')


class Trace(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.cluster = Path(self.folder.name) / "cluster"
        self.addCleanup(self.ctl, "cluster", "down")
        self.file = Path(self.folder.name) / "file"
        self.file.write_bytes(os.urandom(300_001))

    def ctl(self, *arguments):
        return subprocess.run([KDNCTL, "--cluster", self.cluster, *arguments], capture_output=True,
                              timeout=60, check=False, text=True)

    def up(self, *settings):
        arguments = [word for setting in settings for word in ("--set", setting)]
        started = self.ctl("--output", "json", "cluster", "up", "--nodes", "2", "--dram-mib", "64",
                           *arguments)
        self.assertEqual(started.returncode, 0, started.stderr)
        return [daemon["name"] for daemon in json.loads(started.stdout)["daemons"]]

    def events(self, text, trace):
        """{event: fields of its first line} of the lines that name the id."""
        found = {}
        for line in text.splitlines():
            if f"trace={trace}" in line:
                match = LINE.match(line)
                self.assertIsNotNone(match, line)
                fields = dict(re.findall(r'(\w+)=("[^"]*"|\S+)', match["fields"]))
                found.setdefault(match["event"], {**fields, "level": match["level"]})
        return found

    def logs(self, names, trace):
        return {name: self.events((self.cluster / f"{name}.log").read_text(), trace) for name in names}

    def test_one_id_is_found_from_the_client_to_the_disk(self):
        all_lines = ("node.log_level=debug", "coordinator.log_level=debug")
        names = self.up(*all_lines)
        # A node that does not know the other's endpoint yet says so, and the client sends to both
        # itself: put until one forwards.
        content = self.file.read_bytes()
        for attempt in range(50):
            trace = f"{attempt + 1:032x}"
            self.file.write_bytes(content + bytes([attempt]) * 4096)
            put = self.ctl("put", str(self.file), "--name", "f", "--trace", trace)
            self.assertEqual(put.returncode, 0, put.stderr)
            self.assertIn("store over", self.events(put.stderr, trace))
            logs = self.logs(names, trace)
            if any("put piece forwarded" in logs[name] for name in names):
                break
        # A clean stop: lines about what was answered come after the answer.
        self.assertEqual(self.ctl("cluster", "down").returncode, 0)
        logs = self.logs(names, trace)
        self.assertIn("call answered", logs["coordinator"])
        sent = [name for name in names if "put piece forwarded" in logs[name]]
        self.assertEqual(len(sent), 1, logs)
        other = ({"node1", "node2"} - set(sent)).pop()
        self.assertEqual(logs[sent[0]]["put piece answered"]["hop"], "0")
        self.assertEqual(logs[other]["put piece answered"]["hop"], "1")
        for name in ("node1", "node2"):
            self.assertEqual(logs[name]["disk write"]["code"], "ok", logs)
            self.assertGreater(int(logs[name]["disk write"]["took_us"]), 0)

        names = self.up(*all_lines)
        got = self.ctl("get", "f", "--out", str(self.file) + ".back", "--trace", GET)
        self.assertEqual(got.returncode, 0, got.stderr)
        self.assertEqual(Path(str(self.file) + ".back").read_bytes(), self.file.read_bytes())
        mine = self.events(got.stderr, GET)
        self.assertEqual(mine["load over"]["code"], "ok")
        self.assertIn("lookup over", mine)
        self.assertEqual(self.ctl("cluster", "down").returncode, 0)
        logs = self.logs(names, GET)
        self.assertIn("call answered", logs["coordinator"])
        readers = [name for name in ("node1", "node2") if "read answered" in logs[name]]
        self.assertTrue(readers, logs)
        for name in readers:
            self.assertIn("disk read", logs[name])
            self.assertGreater(int(logs[name]["read answered"]["bytes"]), 300_000)
        # Neither id stands where it does not belong.
        self.assertNotIn("disk write", logs["node1"] | logs["node2"])

    def test_without_being_asked_only_slow_requests_get_a_line(self):
        names = self.up("node.slow_request_ms=3600000", "coordinator.slow_request_ms=3600000")
        self.assertEqual(self.ctl("put", str(self.file), "--name", "f", "--trace", PUT).returncode, 0)
        self.assertEqual(self.logs(names, PUT), {name: {} for name in names})

    def test_what_is_no_id_is_refused(self):
        self.up()
        for wrong in ("12", "0" * 32, "g" * 32):
            done = self.ctl("put", str(self.file), "--trace", wrong)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn("32 hexadecimal digits", done.stderr)


if __name__ == "__main__":
    KDNCTL = sys.argv.pop(1)
    unittest.main()

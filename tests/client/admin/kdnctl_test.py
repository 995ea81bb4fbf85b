"""Goal: every verb of kdnctl does, and tells, the truth.
Method: kdnctl runs over a cluster of real processes; what a verb says is checked by another way
than the verb: the process table, the files of the nodes, the bytes of the file that was stored, and
above all by killing the nodes that it names.

usage: kdnctl_test.py KDNCTL [unittest arguments]
"""
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

KDNCTL = ""
VERBS = ["status", "nodes", "contexts", "where", "verify", "put", "get", "profile", "cluster",
         "top", "backup", "restore"]
WRONG_USAGE, NOT_FOUND, NO_ANSWER, DAMAGED = 2, 3, 4, 5


def run(*arguments):
    return subprocess.run([KDNCTL, *arguments], capture_output=True, timeout=60, check=False)


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def kill(pid):
    """Ends a daemon and waits until the kernel says so; it is not this process's child."""
    gone = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    select.select([gone], [], [], 20)
    os.close(gone)


class Kdnctl(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.cluster = str(Path(self.folder.name) / "cluster")
        self.file = Path(self.folder.name) / "file"
        self.content = os.urandom(200_001)
        self.file.write_bytes(self.content)

    def tearDown(self):
        self.ctl("cluster", "down")
        self.folder.cleanup()

    def ctl(self, *arguments):
        return run("--cluster", self.cluster, *arguments)

    def told(self, *arguments):
        """What a verb that succeeds says as JSON."""
        done = self.ctl("--output", "json", *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def up(self, *more):
        """Daemons by name. One replica, so that a node that holds a chunk is the only one."""
        started = self.told("cluster", "up", "--nodes", "2", "--dram-mib", "64", "--replicas", "1",
                            *more)
        return {daemon["name"]: daemon for daemon in started["daemons"]}

    def test_up_starts_processes_and_down_ends_them(self):
        daemons = self.up()
        self.assertEqual(sorted(daemons), ["coordinator", "node1", "node2"])
        for name, daemon in daemons.items():
            program = "kdn-coordinator" if name == "coordinator" else "kdn-node"
            self.assertTrue(os.readlink(f"/proc/{daemon['pid']}/exe").endswith("/" + program))
        self.assertEqual(self.ctl("cluster", "down").returncode, 0)
        for daemon in daemons.values():
            self.assertFalse(alive(daemon["pid"]))

    def test_top_shows_what_is_going_on_and_a_dead_node(self):
        daemons = self.up()
        self.assertEqual(self.ctl("put", str(self.file), "--name", "f").returncode, 0)

        def frame(stop):
            """One of top's frames while the file is got again and again."""
            top = subprocess.Popen([KDNCTL, "--cluster", self.cluster, "--output", "json", "top",
                                    "--once", "--interval", "3"], stdout=subprocess.PIPE, text=True)
            gets = 0
            while top.poll() is None:
                done = self.ctl("get", "f", "--out", str(self.file) + ".back")
                self.assertTrue(stop or done.returncode == 0, done.stderr)
                gets += 1
            out, _ = top.communicate(timeout=30)
            return json.loads(out), gets

        top, gets = frame(stop=False)
        self.assertGreater(gets, 1)
        nodes = {node["node_id"]: node for node in top["nodes"]}
        self.assertEqual([node["state"] for node in nodes.values()], ["alive", "alive"])
        rates = [node["rates"] for node in nodes.values()]
        got = sum(rate["gets_per_second"] for rate in rates)
        self.assertGreater(got, 0)
        # A get reads one object of as many bytes as the file has, and a header.
        out = sum(rate["bytes_out_per_second"] for rate in rates)
        self.assertAlmostEqual(out / got / len(self.content), 1.0, delta=0.1)
        busy = max(rates, key=lambda rate: rate["gets_per_second"])
        self.assertEqual(busy["hit_ratio"], 1.0)
        self.assertGreaterEqual(busy["get_p99_us"], busy["get_p50_us"])
        self.assertGreater(busy["get_p50_us"], 0)
        self.assertGreater(top["coordinator"]["lookups_per_second"], 0)
        self.assertEqual(top["coordinator"]["lookup_hit_ratio"], 1.0)
        self.assertEqual(top["coordinator"]["chunks"], 1)
        self.assertGreater(sum(node["dram_bytes_used"] for node in nodes.values()), 0)

        kill(daemons["node1"]["pid"])
        top, _ = frame(stop=True)  # as long as it takes to be found dead
        states = sorted(node["state"] for node in top["nodes"])
        self.assertEqual(states, ["alive", "dead"])
        dead = next(node for node in top["nodes"] if node["state"] == "dead")
        self.assertIsNone(dead["rates"])
        table = self.ctl("top", "--once", "--interval", "1")
        self.assertEqual(table.returncode, 0, table.stderr)
        self.assertRegex(table.stdout.decode(), r"(?m)^\d+ +dead \d+s +- ")
        self.assertNotIn(b"\x1b", table.stdout)

        kill(daemons["coordinator"]["pid"])
        self.assertEqual(self.ctl("top", "--once").returncode, NO_ANSWER)

    def test_settings_of_daemons_can_be_given(self):
        refused = self.ctl("cluster", "up", "--set", "admin.timeout_ms=1")
        self.assertEqual(refused.returncode, WRONG_USAGE)
        started = self.told("cluster", "up", "--nodes", "1", "--dram-mib", "64", "--set",
                            "node.write_mode=dram_only", "--set", "coordinator.put_expiry_ms=8000")
        for daemon in started["daemons"]:
            line = Path(f"/proc/{daemon['pid']}/cmdline").read_bytes()
            wanted = b"write_mode=dram_only" if daemon["name"] == "node1" else b"put_expiry_ms=8000"
            self.assertIn(wanted, line)

    def test_what_was_put_is_got_also_after_a_restart(self):
        self.up()
        stored = self.told("put", str(self.file), "--name", "one")
        self.assertGreaterEqual(stored["bytes_raw"], len(self.content))
        self.assertEqual(self.ctl("get", "one").stdout, self.content)
        self.assertEqual(self.ctl("cluster", "down").returncode, 0)
        on_disk = sum(p.stat().st_size for p in Path(self.cluster).glob("node*/objects/**/*")
                      if p.is_file())
        self.assertGreater(on_disk, len(self.content))  # random bytes do not shrink
        self.up()
        out = Path(self.folder.name) / "out"
        self.assertEqual(self.ctl("get", "one", "--out", str(out)).returncode, 0)
        self.assertEqual(out.read_bytes(), self.content)

    def test_where_names_the_node_without_which_nothing_is_left(self):
        daemons = self.up()
        self.told("put", str(self.file), "--name", "one")
        chunks = self.told("where", "one")
        self.assertEqual(len(chunks), self.told("contexts")[0]["chunks"])
        holders = {replica["node_id"] for chunk in chunks for replica in chunk["replicas"]}
        self.assertEqual(len(holders), 1)
        nodes = {node["node_id"]: node for node in self.told("nodes")}
        self.assertEqual(len(nodes), 2)
        pid_at = {d["endpoints"][0]: d["pid"] for n, d in daemons.items() if n != "coordinator"}
        for node_id, node in nodes.items():
            if node_id not in holders:
                kill(pid_at[node["endpoints"][0]])
        self.assertEqual(self.ctl("get", "one").stdout, self.content)
        kill(pid_at[nodes[holders.pop()]["endpoints"][0]])
        got = self.ctl("get", "one")
        self.assertEqual(got.returncode, NO_ANSWER, got.stderr)
        self.assertEqual(got.stdout, b"")

    def test_status_and_contexts_count_what_was_put(self):
        self.up()
        before = self.told("status")
        self.assertEqual((before["nodes_alive"], before["chunks"], before["contexts"]), (2, 0, 0))
        self.assertEqual(self.told("contexts"), [])
        self.told("put", str(self.file), "--name", "one")
        self.told("put", str(self.file), "--name", "two")  # the same bytes: the same chunks
        after = self.told("status")
        self.assertEqual(after["contexts"], 2)
        self.assertEqual(after["chunks"], len(self.told("where", "one")))
        self.assertEqual(self.told("where", "one"), self.told("where", "two"))
        self.assertEqual([c["name"] for c in self.told("contexts")], ["one", "two"])
        self.assertEqual([c["name"] for c in self.told("contexts", "--prefix", "t")], ["two"])

    def test_verify_finds_a_byte_that_changed_on_disk(self):
        self.up()
        self.told("put", str(self.file), "--name", "one")
        self.assertEqual(self.told("verify")["objects_checked"], len(self.told("where", "one")))
        # A clean stop leaves nothing in the write-ahead log, where damage would be a chunk that is
        # gone before verify could find it.
        self.assertEqual(self.ctl("cluster", "down").returncode, 0)
        objects = [p for p in Path(self.cluster).glob("node*/objects/**/*") if p.is_file()]
        largest = max(objects, key=lambda p: p.stat().st_size)
        self.assertGreater(largest.stat().st_size, len(self.content) // 2)
        with largest.open("r+b") as file:
            file.seek(largest.stat().st_size // 2)
            byte = file.read(1)[0]
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte ^ 0x10]))
        # The scrub of the node would find it as well, and drop it before verify looks.
        self.up("--set", "node.scrub_mib_per_second=0")
        verified = self.ctl("--output", "json", "verify")
        self.assertEqual(verified.returncode, DAMAGED)
        self.assertGreater(json.loads(verified.stdout)["objects_corrupt"], 0)
        # What was damaged has been dropped; the context that names it is still short of it.
        verified = self.ctl("--output", "json", "verify")
        self.assertEqual(verified.returncode, DAMAGED)
        self.assertEqual(json.loads(verified.stdout)["objects_corrupt"], 0)
        self.assertGreater(json.loads(verified.stdout)["chunks_lost"], 0)
        got = self.ctl("get", "one")
        self.assertEqual(got.returncode, DAMAGED)
        self.assertIn(b"of the 1 chunks of 'one' 0 are on nodes that are alive", got.stderr)
        self.assertEqual(got.stdout, b"")

    def test_put_warns_where_the_cluster_has_fewer_nodes_than_replicas_are_wanted(self):
        self.told("cluster", "up", "--nodes", "1", "--dram-mib", "64", "--replicas", "2")
        put = self.ctl("--output", "json", "put", str(self.file), "--name", "alone")
        self.assertEqual(put.returncode, 0, put.stderr)
        self.assertGreater(json.loads(put.stdout)["chunks_under_replicated"], 0)
        self.assertIn(b"warning", put.stderr)

    def test_put_warns_of_chunks_on_fewer_nodes_than_were_granted(self):
        self.told("cluster", "up", "--nodes", "2", "--dram-mib", "64", "--replicas", "2")
        self.assertEqual(self.ctl("cluster", "down").returncode, 0)
        # The coordinator grants a node that it does not yet know to be dead.
        with open(Path(self.cluster) / "coordinator.toml", "a", encoding="ascii") as file:
            file.write("dead_after_ms = 600000\nforget_after_ms = 600000\n")
        daemons = self.told("cluster", "up", "--nodes", "2", "--dram-mib", "64")["daemons"]
        whole = self.ctl("--output", "json", "put", str(self.file), "--name", "whole")
        self.assertEqual(json.loads(whole.stdout)["chunks_under_replicated"], 0)
        self.assertEqual(whole.stderr, b"")
        kill(daemons[-1]["pid"])
        self.file.write_bytes(self.content[::-1])
        short = self.ctl("--output", "json", "put", str(self.file), "--name", "short")
        self.assertEqual(short.returncode, 0, short.stderr)
        self.assertGreater(json.loads(short.stdout)["chunks_under_replicated"], 0)
        self.assertIn(b"warning", short.stderr)
        replicas = [chunk["replicas"] for chunk in self.told("where", "short")]
        self.assertEqual({len(r) for r in replicas}, {1})

    def test_a_get_that_was_refused_is_told_from_one_that_found_nothing(self):
        self.up()
        self.told("put", str(self.file), "--name", "one")
        settings = (Path(self.cluster) / "kdnctl.toml").read_text()
        other = Path(self.folder.name) / "other.toml"
        wrong_secret = Path(self.folder.name) / "wrong.secret"
        wrong_secret.write_text("00" * 32)
        for key, value in [("tenant_id", "9"), ("access_secret_file", f'"{wrong_secret}"')]:
            other.write_text(re.sub(rf"(?m)^{key} = .*", f"{key} = {value}", settings))
            for verb in [["get", "one"], ["put", str(self.file)]]:
                done = run("--config", str(other), *verb)
                self.assertEqual(done.returncode, NO_ANSWER, (key, verb, done.stderr))
                self.assertIn(b"tenants file", done.stderr)
        other.write_text(re.sub(r"(?m)^access_.*", 'access_secret_file = "/none"', settings))
        self.assertEqual(run("--config", str(other), "get", "one").returncode, WRONG_USAGE)
        self.assertEqual(self.ctl("cluster", "down").returncode, 0)
        self.assertEqual(self.ctl("get", "one").returncode, NO_ANSWER)

    def test_what_an_operator_may_do_asks_for_the_clusters_secret(self):
        self.up()
        self.told("put", str(self.file), "--name", "one")
        settings = (Path(self.cluster) / "kdnctl.toml").read_text()
        other = Path(self.folder.name) / "other.toml"
        wrong_secret = Path(self.folder.name) / "wrong.secret"
        wrong_secret.write_text("00" * 32)
        for secret in ["", str(wrong_secret)]:
            other.write_text(re.sub(r"(?m)^cluster_secret_file = .*",
                                    f'cluster_secret_file = "{secret}"', settings))
            for verb in [["status"], ["nodes"], ["contexts"], ["where", "one"], ["verify"]]:
                done = run("--config", str(other), *verb)
                self.assertNotEqual(done.returncode, 0, (secret, verb))
                self.assertIn(b"cluster_secret_file", done.stderr)
            self.assertEqual(run("--config", str(other), "get", "one").stdout, self.content)

    def test_a_backup_brings_back_what_was_named_before_it(self):
        self.up()
        self.told("put", str(self.file), "--name", "before")
        backup = Path(self.folder.name) / "backup"
        told = self.told("backup", str(backup))
        self.assertEqual(told["epoch"], self.told("status")["epoch"])
        self.assertEqual(told["bytes"], backup.stat().st_size)
        self.assertEqual(backup.stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.ctl("backup", str(backup)).returncode, WRONG_USAGE)
        self.told("backup", str(backup), "--overwrite")
        self.told("put", str(self.file), "--name", "after")
        running = self.ctl("restore", str(backup), "--replace")
        self.assertNotEqual(running.returncode, 0)
        self.assertIn(b"in use", running.stderr)
        self.assertEqual(self.ctl("cluster", "down").returncode, 0)
        self.up()
        epoch = self.told("status")["epoch"]  # that no backup knows, but the nodes do
        self.assertEqual(self.ctl("cluster", "down").returncode, 0)
        shutil.rmtree(Path(self.cluster) / "coordinator")
        restored = self.told("restore", str(backup))
        self.assertGreater(restored["next_epoch"], epoch)
        self.assertFalse(restored["replaced"])
        self.up()
        self.assertEqual(self.told("status")["epoch"], restored["next_epoch"])
        self.assertEqual([context["name"] for context in self.told("contexts")], ["before"])
        self.assertEqual(self.ctl("get", "before").stdout, self.content)
        self.assertEqual(self.ctl("verify").returncode, 0)

    def test_a_restore_loses_nothing_that_is_there(self):
        self.up()
        self.told("put", str(self.file), "--name", "one")
        backup = Path(self.folder.name) / "backup"
        self.told("backup", str(backup))
        self.told("put", str(self.file), "--name", "two")
        self.assertEqual(self.ctl("cluster", "down").returncode, 0)
        damaged = Path(self.folder.name) / "damaged"
        content = bytearray(backup.read_bytes())
        content[len(content) // 2] ^= 1
        damaged.write_bytes(content)
        for arguments in [[str(backup)], [str(damaged), "--replace"],
                          [str(self.file), "--replace"], ["/nonexistent", "--replace"]]:
            self.assertNotEqual(self.ctl("restore", *arguments).returncode, 0, arguments)
        self.up()
        self.assertEqual(sorted(c["name"] for c in self.told("contexts")), ["one", "two"])
        self.assertEqual(self.ctl("cluster", "down").returncode, 0)
        self.assertTrue(self.told("restore", str(backup), "--replace")["replaced"])
        aside = list((Path(self.cluster) / "coordinator").glob("metastore.replaced-*"))
        self.assertEqual(len(aside), 1)
        self.up()
        self.assertEqual([context["name"] for context in self.told("contexts")], ["one"])

    def test_errors_have_their_exit_codes_and_go_to_standard_error(self):
        for arguments in [["teleport"], ["--output", "xml", "status"], ["get"],
                          ["put", self.folder.name], ["status"], ["--config", "/none", "status"]]:
            self.assertEqual(self.ctl(*arguments).returncode, WRONG_USAGE, arguments)
        self.up()
        for arguments in [["get", "none"], ["where", "none"], ["put", "/nonexistent"]]:
            done = self.ctl(*arguments)
            self.assertEqual(done.returncode, NOT_FOUND, arguments)
            self.assertEqual(done.stdout, b"")
            self.assertIn(b"kdnctl: ", done.stderr)
        self.assertEqual(self.ctl("cluster", "down").returncode, 0)
        for arguments in [["status"], ["nodes"], ["contexts"], ["where", "one"], ["verify"]]:
            self.assertEqual(self.ctl(*arguments).returncode, NO_ANSWER, arguments)

    def test_help_names_every_verb(self):
        text = run("--help").stdout.decode()
        for verb in VERBS:
            self.assertRegex(text, rf"(?m)^  {verb}\b")
            alone = run(verb, "--help")
            self.assertEqual(alone.returncode, 0)
            self.assertNotIn(b"A first try", alone.stdout)
            self.assertIn(verb.encode(), run("teleport").stderr)


if __name__ == "__main__":
    KDNCTL = sys.argv.pop(1)
    unittest.main()

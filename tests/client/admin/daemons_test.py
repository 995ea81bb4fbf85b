"""Goal: what an operator is told about starting KDN by hand is true.
Method: the commands of "A cluster by hand" in docs/operations.md are run as they stand, over the
shipped configurations, with folders and ports of this test in the place of the documented ones;
daemons are started with what is wrong in one place, and asked what they say.

usage: daemons_test.py PROGRAM_FOLDER SOURCE_FOLDER [unittest arguments]
"""
import json
import os
import random
import re
import socket
import stat
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

PROGRAMS = SOURCE = ""
DAEMONS = ["kdn-coordinator", "kdn-node"]
WRONG_CONFIGURATION = 2


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


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


class Daemons(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)

    def check(self, daemon, *settings):
        """What --check-config says, with each of `settings` set."""
        arguments = [word for setting in settings for word in ("--set", setting)]
        return run(f"{PROGRAMS}/{daemon}", "--check-config", *arguments)

    def test_wrong_usage_has_its_exit_code(self):
        for daemon in DAEMONS:
            self.assertEqual(run(f"{PROGRAMS}/{daemon}", "--teleport").returncode,
                             WRONG_CONFIGURATION)
            version = run(f"{PROGRAMS}/{daemon}", "--version")
            self.assertEqual(version.returncode, 0)
            self.assertRegex(version.stdout, r"^\d+\.\d+\.\d+\n$")

    def test_what_cannot_work_is_refused_before_the_start_by_the_name_of_its_key(self):
        for daemon, key, value in [
                ("kdn-coordinator", "coordinator.cluster_secret_file", "/none"),
                ("kdn-coordinator", "coordinator.tenants_file", "/none"),
                ("kdn-node", "node.cluster_secret_file", "/none"),
                ("kdn-node", "node.policy", "random"),
                ("kdn-node", "node.dram_mib", "16777216")]:
            for flags in [["--check-config"], []]:
                done = run(f"{PROGRAMS}/{daemon}", *flags, "--set", f"{key}={value}")
                self.assertEqual(done.returncode, WRONG_CONFIGURATION, (key, flags, done.stderr))
                self.assertIn(key, done.stderr)

    def test_a_secret_that_others_can_read_is_warned_of(self):
        secret = self.folder / "secret"
        secret.write_text("ab" * 32)
        for mode, warned in [(0o600, False), (0o640, True), (0o604, True)]:
            secret.chmod(mode)
            for daemon, section in [("kdn-coordinator", "coordinator"), ("kdn-node", "node")]:
                done = self.check(daemon, f"{section}.cluster_secret_file={secret}")
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual("warning" in done.stderr, warned, (daemon, oct(mode)))

    def documented_commands(self):
        """The section's command block, and its paths and ports as they are in this test."""
        text = (Path(SOURCE) / "docs/operations.md").read_text()
        section = text.split("## A cluster by hand\n", 1)[1].split("\n## ", 1)[0]
        commands = "\n".join(line[4:] for line in section.splitlines() if line.startswith("    "))
        places = {"/etc/kdn": str(self.folder / "etc"), "/var/lib/kdn": str(self.folder / "lib")}
        for port in set(re.findall(r"127\.0\.0\.1:(77\d\d)", self.shipped())):
            places[f"127.0.0.1:{port}"] = f"127.0.0.1:{free_port()}"
        return commands, places

    @staticmethod
    def shipped():
        folder = Path(SOURCE) / "cluster-configs/single-machine"
        return "".join(file.read_text() for file in sorted(folder.glob("*.toml")))

    def test_a_cluster_by_hand_comes_up_as_documented(self):
        commands, places = self.documented_commands()
        # The shipped files where the commands expect them, with this test's places in them.
        here = self.folder / "checkout"
        configs = here / "cluster-configs/single-machine"
        configs.mkdir(parents=True)
        for file in (Path(SOURCE) / "cluster-configs/single-machine").glob("*.toml"):
            text = file.read_text()
            for documented, used in places.items():
                text = text.replace(documented, used)
            (configs / file.name).write_text(re.sub(r"dram_mib = \d+", "dram_mib = 64", text))
        for documented, used in places.items():
            commands = commands.replace(documented, used)
        environment = dict(os.environ, PATH=f"{PROGRAMS}:{os.environ['PATH']}")
        script = f"set -eu\ntrap 'kill $(jobs -p) || true; wait' EXIT\n{commands}\n"
        done = subprocess.run(["bash", "-c", script], cwd=here, env=environment, timeout=120,
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        # Whatever is told while all are being stopped is no matter of the configuration.
        self.assertNotIn("warning", done.stderr.split('event="coordinator stops"')[0])
        self.assertIn("same", done.stdout)
        for name in ["coordinator", "node"]:
            mode = stat.S_IMODE((self.folder / "lib" / name).stat().st_mode)
            self.assertEqual(mode, 0o700, name)


if __name__ == "__main__":
    PROGRAMS, SOURCE = sys.argv.pop(1), sys.argv.pop(1)
    unittest.main()

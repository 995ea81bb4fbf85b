"""Goal: the comparison with peers counts what was asked, holds KDN against the better peer, and never
makes up a row for one that did not run.
Method: systems that answer with numbers of the test's choosing, or not at all.
"""
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import peer_loop  # noqa: E402
import peers_bench  # noqa: E402


class Fake:
    def __init__(self, name, rates):
        self.name, self.rates = name, rates

    def configs(self, op):
        return [{"n": n} for n in range(len(self.rates))]

    def rate(self, op, size, seconds, config):
        if not self.rates[config["n"]]:
            raise peers_bench.Missing("no memory")
        return self.rates[config["n"]]


class PeersTest(unittest.TestCase):
    def compare(self, *systems):
        skipped = {}
        configs, samples = peers_bench.compare(systems, "get_1mib", 3, 1.0, skipped)
        return *peers_bench.result_row("get_1mib", configs, samples), skipped

    def test_each_side_has_its_best_config_and_the_better_peer_counts(self):
        row, _, skipped = self.compare(Fake("KDN", [1.0, 9.0, 2.0]), Fake("Mooncake", [3.0, 4.0]),
                                       Fake("LMCache", [4.2]), Fake("Redis", [100.0]))
        self.assertEqual((row["ours"], row["theirs"], row["peer"]), (9.0, 4.2, "LMCache"))
        self.assertTrue(row["holds"])
        self.assertEqual(row["configs"]["Mooncake"], {"n": 1})
        self.assertEqual(len(row["samples"]["KDN"]), 3)
        self.assertEqual(skipped, {})

    def test_below_the_bar_is_below(self):
        row, _, _ = self.compare(Fake("KDN", [7.9]), Fake("Mooncake", [4.0]))
        self.assertFalse(row["holds"])

    def test_a_peer_that_fails_is_named_and_has_no_row(self):
        row, medians, skipped = self.compare(Fake("KDN", [5.0]), Fake("Mooncake", [0]),
                                             Fake("LMCache", [2.0]))
        self.assertEqual(row["peer"], "LMCache")
        self.assertNotIn("Mooncake", medians)
        self.assertEqual(skipped, {"Mooncake get_1mib": "no memory"})
        row, _, skipped = self.compare(Fake("KDN", [5.0]), Fake("Mooncake", [0]))
        self.assertIsNone(row)

    def test_a_rate_counts_every_threads_calls_and_stops_at_the_most(self):
        calls = []
        rate = peer_loop.rate(lambda thread, number: calls.append((thread, number)), 3, 60, 10, 5)
        self.assertEqual(sorted(calls), [(t, n) for t in range(3) for n in range(5)])
        self.assertGreater(rate, 0)

    def test_a_call_that_fails_is_no_rate(self):
        def fail(thread, number):
            raise RuntimeError("gone")
        with self.assertRaisesRegex(RuntimeError, "gone"):
            peer_loop.rate(fail, 1, 60, 1)


if __name__ == "__main__":
    unittest.main()

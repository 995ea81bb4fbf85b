#!/usr/bin/env python3
"""Draws what an operation costs as a cluster grows: docs/directory-flat.svg out of what
directory_bench wrote, docs/clients-flat.svg out of what clients_bench did. Needs matplotlib.

usage: scripts/bench directory_bench clients_bench && scripts/plot_flat.py [build/bench] [docs]
"""
import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

BAR = 1.2
DIRECTORY = (
    ("lookup_us", "lookup of 512 keys", "#08519c", "o"),
    ("put_us", "put of 32 chunks, two replicas", "#238b45", "s"),
    ("evict_us", "eviction of 512 chunks, two replicas", "#cb181d", "^"),
)
CLIENTS = (
    ("us_per_get", "get of 64 KiB, clients and node", "#08519c", "o"),
    ("node_us_per_get", "the node's part of it", "#cb181d", "^"),
)


def flat(figures, over, lines, labels, path):
    """Each operation's time over figures[over], relative to its cheapest."""
    figure, axis = plt.subplots(figsize=(6.4, 4), layout="constrained")
    for name, label, colour, marker in lines:
        least = min(figures[name])
        axis.plot(figures[over], [t / least for t in figures[name]], marker=marker,
                  color=colour, label=f"{label}: {least:.0f} us at least")
    axis.axhline(BAR, color="#888", ls="--", lw=1)
    axis.set_xscale("log", base=10 if figures[over][-1] > 1000 else 2)
    axis.set_ylim(0, 1.6)
    axis.set_xlabel(labels[0])
    axis.set_ylabel(labels[1])
    axis.grid(alpha=.3)
    axis.legend(fontsize=8, loc="lower right")
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})


def figures_of(path):
    return json.loads(path.read_text())["figures"][0]


if __name__ == "__main__":
    results = Path(sys.argv[1] if len(sys.argv) > 1 else "build/bench")
    docs = Path(sys.argv[2] if len(sys.argv) > 2 else "docs")
    plt.rcParams["svg.hashsalt"] = "kdn"
    flat(figures_of(results / "directory_bench.json"), "chunks", DIRECTORY,
         ("chunks in the directory", "time of a call, tenth percentile, against the least"),
         docs / "directory-flat.svg")
    flat(figures_of(results / "clients_bench.json"), "clients", CLIENTS,
         ("clients", "processor time of a get, against the least"), docs / "clients-flat.svg")

#!/usr/bin/env python3
"""Draws docs/directory-flat.svg out of what directory_bench wrote. Needs matplotlib.

usage: scripts/bench directory_bench && scripts/plot_directory.py [build/bench] [docs]
"""
import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

LINES = (
    ("lookup_us", "lookup of 512 keys", "#08519c", "o"),
    ("put_us", "put of 32 chunks, two replicas", "#238b45", "s"),
    ("evict_us", "eviction of 512 chunks, two replicas", "#cb181d", "^"),
)


def flat(figures, path):
    """Each operation's time against the number of chunks, relative to the cheapest size."""
    figure, axis = plt.subplots(figsize=(6.4, 4), layout="constrained")
    for name, label, colour, marker in LINES:
        least = min(figures[name])
        axis.plot(figures["chunks"], [t / least for t in figures[name]], marker=marker,
                  color=colour, label=f"{label}: {least:.0f} us at least")
    axis.axhline(1.2, color="#888", ls="--", lw=1)
    axis.set_xscale("log")
    axis.set_ylim(0, 1.6)
    axis.set_xlabel("chunks in the directory")
    axis.set_ylabel("time of a call, tenth percentile, against the least")
    axis.grid(alpha=.3)
    axis.legend(fontsize=8, loc="lower right")
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})


if __name__ == "__main__":
    results = Path(sys.argv[1] if len(sys.argv) > 1 else "build/bench")
    docs = Path(sys.argv[2] if len(sys.argv) > 2 else "docs")
    plt.rcParams["svg.hashsalt"] = "kdn"
    bench = json.loads((results / "directory_bench.json").read_text())
    flat(bench["figures"][0], docs / "directory-flat.svg")

#!/usr/bin/env python3
"""Draws the pictures of docs/codec.md out of what the benches wrote. Needs matplotlib; nothing else does.

usage: scripts/bench cachegen_bench && scripts/plot_codec.py [build/bench] [docs]
"""
import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

CACHEGEN = "CacheGen, levels 1 to 3"
# Name in the file: (label, colour, marker)
OURS = {
    "transform, weighted": ("transform, bins by attention", "#08519c", "o"),
    "transform": ("transform", "#4292c6", "o"),
    "no transform, weighted": ("no transform, bins by attention", "#238b45", "s"),
    "no transform": ("no transform", "#74c476", "s"),
}


def rate_and_error(curves, path):
    """Standard of each kind of profile as its bins narrow, one object's levels, and CacheGen."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.8), sharey=True, layout="constrained")
    left, right = axes
    for name, (label, colour, marker) in OURS.items():
        rows = [c for c in curves if c["codec"] == name]
        points = sorted((c["bits"][1], c["error"][1]) for c in rows)
        left.plot(*zip(*points), marker=marker, ms=4, color=colour, label=label)
        chosen = next(c for c in rows if c["draft_bits"] == [1.5])
        right.plot(chosen["bits"], chosen["error"], marker=marker, ms=4, color=colour, label=label)
    for row in (c for c in curves if c["codec"] == "no profile" and c["tokens"] == [256]):
        right.plot(row["bits"], row["error"], marker="^", ms=5, color="#888", label="no profile")
    for axis in axes:
        for tokens, style in ((256, "-"), (1500, "--")):
            row = next(c for c in curves if c["codec"] == CACHEGEN and c["tokens"] == [tokens])
            axis.plot(row["bits"], row["error"], style, marker="D", ms=4, color="#cb181d",
                      label=f"CacheGen, {tokens} tokens")
        axis.set_yscale("log")
        axis.set_yticks([.05, .1, .2, .4], ["5 %", "10 %", "20 %", "40 %"])
        axis.minorticks_off()
        axis.set_xlim(0.5, 6.5)
        axis.grid(alpha=.3)
        axis.set_xlabel("bits a value, all counted")
    left.set_ylabel("error of attention's output")
    left.set_title("standard, bins from wide to narrow; chunks of 256 tokens", fontsize=10)
    right.set_title("draft, standard and fine of one object", fontsize=10)
    figure.legend(*right.get_legend_handles_labels(), loc="upper center",
                  bbox_to_anchor=(0.5, 0.0), ncol=4, fontsize=8)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})


if __name__ == "__main__":
    results = Path(sys.argv[1] if len(sys.argv) > 1 else "build/bench")
    docs = Path(sys.argv[2] if len(sys.argv) > 2 else "docs")
    plt.rcParams["svg.hashsalt"] = "kdn"
    bench = json.loads((results / "cachegen_bench.json").read_text())
    rate_and_error(bench["figures"], docs / "codec-rate.svg")

"""What scripts/demo shows of kdn-demo-engine's output.

usage: demo_report.py stored < LINES        a table of what was stored
       demo_report.py answers < LINES       a table of answers; fails if any differs
       demo_report.py kill CLUSTER_JSON     kills one node of a cluster with SIGKILL
       demo_report.py write FOLDER          FOLDER/answers.jsonl -> demo.json and demo.png
"""
import json
import os
import signal
import statistics
import sys
from pathlib import Path

ROW_FIELDS = ("document", "tokens", "bytes", "recompute_ms", "fetch_ms", "hit_tokens", "tier",
              "identical")


def rows_of(lines):
    """Objects as they come, so that a table grows while the engine works."""
    return (json.loads(line) for line in lines if line.strip())


def megabytes(count):
    return f"{count / 1e6:.2f} MB"


def show_stored(lines):
    print(f"{'document':<28}{'tokens':>8}{'KV cache':>12}{'stored':>12}{'chunks':>8}")
    complete = True
    for row in rows_of(lines):
        complete = complete and row["stored"]
        print(f"{row['document']:<28}{row['tokens']:>8}{megabytes(row['bytes_raw']):>12}"
              f"{megabytes(row['bytes_sent']):>12}{row['chunks_stored']:>8}"
              f"{'' if row['stored'] else '  not stored'}", flush=True)
    return 0 if complete else 1


def show_answers(lines):
    print(f"{'document':<28}{'fetched':>12}{'of':>6}{'bytes':>11}{'tier':>7}{'recompute':>12}"
          f"{'fetch':>10}{'sooner':>8}  {'identical':<11}answer")
    rows = []
    for row in rows_of(lines):
        rows.append(row)
        times = row["recompute_ms"] / row["fetch_ms"]
        print(f"{row['document']:<28}{row['hit_tokens']:>12}{row['tokens']:>6}"
              f"{megabytes(row['bytes']):>11}{row['tier']:>7}{row['recompute_ms']:>9.1f} ms"
              f"{row['fetch_ms']:>7.1f} ms{times:>7.1f}x  "
              f"{'yes' if row['identical'] else 'NO':<11}{row['text_fetched'].strip()}",
              flush=True)
    if not rows:
        print("no answers came", file=sys.stderr)
        return 1
    recompute = statistics.median(row["recompute_ms"] for row in rows)
    fetch = statistics.median(row["fetch_ms"] for row in rows)
    print(f"medians: first token after {recompute:.1f} ms computed, {fetch:.1f} ms fetched")
    return 0 if all(row["identical"] and row["hit_tokens"] > 0 for row in rows) else 1


def kill_one(path):
    nodes = [daemon for daemon in json.loads(Path(path).read_text())["daemons"]
             if daemon["program"] == "kdn-node"]
    victim = nodes[0]
    os.kill(victim["pid"], signal.SIGKILL)
    print(f"{victim['name']} (process {victim['pid']}) is dead")
    return 0


def draw(rows, path):
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = [row["document"] for row in rows]
    places = range(len(rows))
    figure, axes = plt.subplots(figsize=(9, 0.75 * len(rows) + 1.6), dpi=150)
    height = 0.38
    for shift, field, color, label in ((-1, "recompute_ms", "#9aa5b1", "past recomputed"),
                                       (1, "fetch_ms", "#1f6feb", "past fetched from KDN")):
        values = [row[field] for row in rows]
        bars = axes.barh([place + shift * height / 2 for place in places], values, height,
                         color=color, label=label)
        texts = [f"{value:.0f} ms" if value >= 100 else f"{value:.1f} ms" for value in values]
        if field == "fetch_ms":
            texts = [f"{text}   {row['recompute_ms'] / row['fetch_ms']:.0f}× sooner"
                     for text, row in zip(texts, rows)]
        axes.bar_label(bars, texts, padding=5, fontsize=9)
    axes.set_yticks(list(places), names, fontsize=10)
    axes.invert_yaxis()
    axes.set_xlim(0, max(row["recompute_ms"] for row in rows) * 1.14)
    axes.set_xlabel("time to first token, ms")
    tokens = sorted({row["hit_tokens"] for row in rows})
    shown = f"{tokens[0]:,}" if len(tokens) == 1 else f"{tokens[0]:,} to {tokens[-1]:,}"
    same = "all answers identical, bit for bit" if all(row["identical"] for row in rows) \
        else "NOT all answers identical"
    axes.set_title(f"Questions about documents of {shown} tokens: {same}", fontsize=12, loc="left",
                   pad=28)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=2, frameon=False, fontsize=10)
    figure.tight_layout()
    figure.savefig(path)


def write(folder):
    folder = Path(folder)
    rows = list(rows_of((folder / "answers.jsonl").read_text().splitlines()))
    kept = [{field: row[field] for field in ROW_FIELDS} for row in rows]
    (folder / "demo.json").write_text(json.dumps(kept, indent=2) + "\n")
    if rows:
        draw(rows, folder / "demo.png")
    return 0


def main(arguments):
    if arguments == ["stored"]:
        return show_stored(sys.stdin)
    if arguments == ["answers"]:
        return show_answers(sys.stdin)
    if len(arguments) == 2 and arguments[0] == "kill":
        return kill_one(arguments[1])
    if len(arguments) == 2 and arguments[0] == "write":
        return write(arguments[1])
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Measures the test model: `evaluate.py FOLDER [--text FILE] [--questions N] [--quick]`.

Prints bits per byte on heldout.bin of FOLDER, then the share of right answers to questions.jsonl
by hops for full prefill, full reuse (documents prefilled alone, keys rotated to their place) and
selective recompute with the exact causal mask, and to demo_documents.jsonl. bf16 weights, float32
arithmetic."""
import argparse
import json
import math
import random

import torch
import torch.nn.functional as F

from llama import load, prefill
from tokens import Tokenizer

SHARES = (0.05, 0.15, 0.3, 0.5)  # of the tokens recomputed


@torch.no_grad()
def bits_per_byte(model, tok, tokens, length, sequences=32):
    """The mean over sequences of `length` tokens, cut out anywhere."""
    rng, nats, count = random.Random(5), 0.0, 0
    for _ in range(sequences):
        i = rng.randrange(len(tokens) - length - 1)
        x = torch.tensor(tokens[i:i + length + 1])[None]
        nats += F.cross_entropy(model(x[:, :-1])[0], x[0, 1:], reduction="sum").item()
        count += len(tok.decode(x[0, 1:].tolist()))
    return nats / math.log(2) / count


def deviating_rows(new, reused, always, share):
    """-> the `share` of rows whose new K and V differ most from the reused ones; `always` too."""
    squares = [((a - b) ** 2).sum((0, 1, 3)) for a, b in zip(new, reused)]
    deviation = sum(s / s.mean() for s in squares)
    deviation[always] = math.inf
    count = max(int(share * len(deviation)), int(always.sum()))
    return deviation.topk(count).indices.sort().values


@torch.no_grad()
def blend(model, ids, pos, reused, share, always):
    """Layer 0 in full; rows chosen by the deviation at layer 1; the others stay as reused."""
    x, rows, out = model.model.embed_tokens(ids)[None], torch.arange(len(ids)), []
    for i, layer in enumerate(model.model.layers):
        q, k, v = layer.qkv(x, pos[rows])
        if i == 1:
            rows = deviating_rows((k, v), reused[1], always, share)
            x, q, k, v = x[:, rows], q[:, :, rows], k[:, :, rows], v[:, :, rows]
        merged_k, merged_v = reused[i][0].clone(), reused[i][1].clone()
        merged_k[:, :, rows], merged_v[:, :, rows] = k, v
        out.append((merged_k, merged_v))
        x = layer.finish(x, q, merged_k, merged_v, pos[None] <= pos[rows][:, None])
    return out


@torch.no_grad()
def caches(model, chunks, blended):
    """chunks: token ids of each document. -> {way: per-layer (k, v) of all of them}."""
    ids = torch.cat(chunks)
    pos = torch.arange(len(ids))
    ways = {"full prefill": prefill(model, ids, pos)[1]}
    if not blended:
        return ways
    ends = torch.tensor([len(c) for c in chunks]).cumsum(0)
    alone = [prefill(model, c, torch.arange(e - len(c), e))[1] for c, e in zip(chunks, ends)]
    reused = [tuple(torch.cat(parts, 2) for parts in zip(*layer)) for layer in zip(*alone)]
    always = torch.zeros(len(ids), dtype=torch.bool)
    for c, e in zip(chunks, ends):
        always[e - len(c):e - len(c) + 2] = True
    ways["full reuse"] = reused
    for share in SHARES:
        ways[f"recompute {share:.0%}"] = blend(model, ids, pos, reused, share, always)
    return ways


def answers(model, tok, rows, blended):
    """rows: of questions.jsonl. -> {way: share of right answers} and the tokens per row."""
    right, lengths = {}, []
    for row in rows:
        docs = [d.encode() for d in row["documents"]]
        chunks = [torch.tensor(tok.encode(d)) for d in [b"\0" + docs[0], *docs[1:]]]
        ask, size = torch.tensor(tok.encode(row["question"].encode())), sum(map(len, chunks))
        for way, kv in caches(model, chunks, blended).items():
            logits = prefill(model, ask, torch.arange(size, size + len(ask)),
                             (kv, torch.arange(size)))[0][-1]
            answer = tok.bytes[logits.argmax()].decode("ascii", "replace")
            right.setdefault(way, []).append(answer == row["answer"])
        lengths.append(size)
    return {way: sum(x) / len(x) for way, x in right.items()}, sum(lengths) / len(lengths)


def read_lines(path, count=None):
    """-> the rows of a .jsonl file; the first `count` of each number of hops."""
    taken, rows = {}, []
    with open(path, encoding="ascii") as file:
        for row in map(json.loads, file):
            kind = min(row.get("hops", 0), 2)
            taken[kind] = taken.get(kind, 0) + 1
            if count is None or taken[kind] <= count:
                rows.append(row)
    return rows


def main(options):
    torch.set_num_threads(1)
    folder = options.folder
    tok, model = Tokenizer(f"{folder}/vocab.txt"), load(folder)
    with open(options.text or f"{folder}/heldout.bin", "rb") as file:
        tokens = tok.encode(file.read())
    lengths = (256, 1024) if options.quick else (256, 1024, 3072)
    bits = {n: round(bits_per_byte(model, tok, tokens, n), 3) for n in lengths}
    print("bits per byte:", bits, flush=True)
    rows, by_way = read_lines(f"{folder}/questions.jsonl", options.questions), {}
    for hops in (0, 1, 2):
        some = [row for row in rows if min(row["hops"], 2) == hops]
        shares, size = answers(model, tok, some, not options.quick)
        print(f"{hops} hops{' and more' * (hops == 2)}: {len(some)} questions, {size:.0f} tokens")
        for way, share in shares.items():
            by_way.setdefault(way, []).append(share)
    for way, shares in by_way.items():
        print(f"{way:16}", *(f"{share:6.1%}" for share in shares), flush=True)
    demo = [{**row, "documents": [row["text"]]}
            for row in read_lines(f"{folder}/demo_documents.jsonl")]
    shares, size = answers(model, tok, demo, False)
    print(f"demo documents of {size:.0f} tokens: {shares['full prefill']:.1%} right")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measures the test model.")
    parser.add_argument("folder")
    parser.add_argument("--text", help="another held-out text than heldout.bin, for bits per byte")
    parser.add_argument("--questions", type=int, help="of each number of hops; all by default")
    parser.add_argument("--quick", action="store_true", help="full prefill only")
    main(parser.parse_args())

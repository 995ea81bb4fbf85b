"""Writes what an executor of the test model must compute: `reference.py FOLDER`.

Reads model.safetensors, config.json, vocab.txt and heldout.bin of FOLDER and writes
FOLDER/reference.safetensors. The bf16 weights are widened and everything is computed in float64,
then rounded to float32; the deviation of PyTorch's own float32 arithmetic is printed."""
import os
import sys

import torch
from safetensors.torch import save_file

from llama import load, prefill
from tokens import Tokenizer

ALL_POSITIONS_OF = 17  # the prompt whose logits are kept at every position


def prompts(tok, text):
    """-> {tokens: ids}; held-out text, but one NUL for 1, and facts with a question for 17."""
    facts = (b"\0[document 1] Mia lives in Rome. Leo lives where Mia lives.\n"
             b"Q: Where does Leo live? A:")
    ids = tok.encode(text)
    out = {1: [0], 17: tok.encode(facts)}
    assert len(out[17]) == 17, len(out[17])
    for count, start in ((256, 5000), (300, 20000), (1024, 40000)):
        out[count] = [0] + ids[start:start + count - 1]
    return out


def expected(model, ids):
    """-> logits at every token and (k, v) of the last layer, as (kv_heads, tokens, head_dim)."""
    ids = torch.tensor(ids)
    logits, kv = prefill(model, ids, torch.arange(len(ids)))
    return logits, kv[-1][0][0], kv[-1][1][0]


def deviation(ours, exact):
    """The largest error, relative to the largest value."""
    return ((ours.double() - exact).abs().max() / exact.abs().max()).item()


def main(folder):
    torch.set_num_threads(1)
    tok, exact, single = Tokenizer(f"{folder}/vocab.txt"), load(folder, torch.float64), load(folder)
    with open(f"{folder}/heldout.bin", "rb") as file:
        text = file.read()
    tensors = {}
    for count, ids in prompts(tok, text).items():
        want, got = expected(exact, ids), expected(single, ids)
        print(f"{count} tokens, float32 deviates by (logits, k, v):",
              *(f"{deviation(g, w):.1e}" for g, w in zip(got, want)))
        logits, k, v = (x.float().contiguous() for x in want)
        tensors[f"{count}.ids"] = torch.tensor(ids, dtype=torch.int32)
        tensors[f"{count}.logits"] = logits if count == ALL_POSITIONS_OF else logits[-1:].clone()
        tensors[f"{count}.k"], tensors[f"{count}.v"] = k, v
    save_file(tensors, f"{folder}/reference.safetensors")
    os.chmod(f"{folder}/reference.safetensors", 0o644)


if __name__ == "__main__":
    main(sys.argv[1])

"""Records the KV cache of held-out text as test data for codecs: `record.py FOLDER`.

Writes FOLDER/kv_heldout.safetensors: `ids` (int32), `k` and `v` (bf16) as [layers, kv_heads,
tokens, head_dim] of the first 512 tokens of FOLDER/heldout.bin behind one NUL, prefilled from
position 0. Keys are rotated, as an engine holds them."""
import os
import sys

import torch
from safetensors.torch import save_file

from llama import load, prefill
from tokens import Tokenizer

TOKENS = 512


def main(folder):
    torch.set_num_threads(1)
    with open(f"{folder}/heldout.bin", "rb") as file:
        text = file.read(16 * TOKENS)
    ids = torch.tensor(([0] + Tokenizer(f"{folder}/vocab.txt").encode(text))[:TOKENS])
    _, kv = prefill(load(folder), ids, torch.arange(TOKENS))
    k, v = (torch.cat([layer[i] for layer in kv]).bfloat16().contiguous() for i in (0, 1))
    tensors = {"ids": ids.int(), "k": k, "v": v}
    save_file(tensors, f"{folder}/kv_heldout.safetensors", metadata={"first_position": "0"})
    os.chmod(f"{folder}/kv_heldout.safetensors", 0o644)
    for name, x in (("k", k.float()), ("v", v.float())):
        print(name, tuple(x.shape), "standard deviation by layer:",
              *(f"{layer.std():.2f}" for layer in x))


if __name__ == "__main__":
    main(sys.argv[1])

"""Copies attention heads between layers: `transplant.py FOLDER OUT FROM:TO [FROM:TO ...]`.

FROM and TO are LAYER.GROUP, a group being one KV head with its query heads; the heads at TO are
lost. All copies are taken from the model in FOLDER, and the model is written to OUT as a
checkpoint for train.py --from (after export.py). A layer's norm weights are folded into the copy.

Why: a reference can be looked up while it is read only if a layer in the middle has the heads for
it, and those that answer direct questions had formed in the last two layers. Layers share the
residual stream, so a copied head finds what it looks for wherever it is already there. With
2.0:1.1 4.1:2.1 4.1:3.1 four of five references were resolved after layer 2 with no training at
all, which gradients had not begun to do within a million tokens."""
import copy
import sys

import torch

from llama import load


def place(text):
    layer, group = text.split(".")
    return int(layer), int(group)


def rows(weight, group, groups):
    """-> the rows of a projection that belong to one of `groups` KV heads."""
    size = weight.shape[0] // groups
    return weight[group * size:(group + 1) * size]


@torch.no_grad()
def transplant(source, target, came, goes):
    groups = source.config.num_key_value_heads
    a, b = source.model.layers[came[0]], target.model.layers[goes[0]]
    scale = a.input_layernorm.weight / b.input_layernorm.weight
    for name in ("q_proj", "k_proj", "v_proj"):
        new = rows(getattr(a.self_attn, name).weight, came[1], groups) * scale
        rows(getattr(b.self_attn, name).weight, goes[1], groups).copy_(new)
    new = rows(a.self_attn.o_proj.weight.T, came[1], groups)
    rows(b.self_attn.o_proj.weight.T, goes[1], groups).copy_(new)


def main(folder, out, *moves):
    source = load(folder)
    target = copy.deepcopy(source)
    for move in moves:
        came, goes = move.split(":")
        transplant(source, target, place(came), place(goes))
    torch.save({"step": 0, "model": target.state_dict()}, out)


if __name__ == "__main__":
    main(*sys.argv[1:])

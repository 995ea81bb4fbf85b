"""Turns a checkpoint of train.py into the files of a model: `export.py CHECKPOINT FOLDER`.

Writes FOLDER/model.safetensors (bf16) and config.json, as Hugging Face lays a Llama out."""
import dataclasses
import json
import os
import sys

import torch
from safetensors.torch import save_file

from llama import Config

FIXED = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
         "torch_dtype": "bfloat16", "tie_word_embeddings": True, "attention_bias": False,
         "mlp_bias": False, "bos_token_id": 0, "eos_token_id": 10}


def main(checkpoint, folder):
    state = torch.load(checkpoint, map_location="cpu")
    weights = {name: w.bfloat16().contiguous() for name, w in state["model"].items()
               if name != "lm_head.weight"}  # it is the embedding
    save_file(weights, f"{folder}/model.safetensors", metadata={"format": "pt"})
    os.chmod(f"{folder}/model.safetensors", 0o644)
    with open(f"{folder}/config.json", "w", encoding="utf-8") as file:
        json.dump({**FIXED, **dataclasses.asdict(Config())}, file, indent=2)
        file.write("\n")
    print(f"step {state['step']}")


if __name__ == "__main__":
    main(*sys.argv[1:])

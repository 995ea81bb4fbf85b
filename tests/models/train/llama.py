"""The test model in PyTorch: RMSNorm, rotary positions, grouped-query attention, SwiGLU.

Rotary positions pair the two halves of a head (channel i with channel i + head_dim / 2, as NeoX
does), start at 0, and are applied to queries and keys. Embedding and output share their weights.
Weights are named as Hugging Face names those of a Llama, so other engines can load the file."""
import json
from dataclasses import dataclass, fields

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import load_file


@dataclass
class Config:
    vocab_size: int = 2048
    hidden_size: int = 256
    intermediate_size: int = 640
    num_hidden_layers: int = 6
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    head_dim: int = 64
    rope_theta: float = 100000.0
    rms_norm_eps: float = 1e-5
    max_position_embeddings: int = 4096


def rope(x, pos, theta):
    """x: (batch, heads, tokens, head_dim) -> the same, rotated to the positions pos: (tokens,)."""
    half = x.shape[-1] // 2
    kind = torch.float64 if x.dtype == torch.float64 else torch.float32
    inverse = theta ** (-torch.arange(0, 2 * half, 2, dtype=kind, device=x.device) / (2 * half))
    angle = pos.to(kind)[:, None] * inverse
    cos, sin, a, b = angle.cos(), angle.sin(), x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Norm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(size)), eps

    def forward(self, x):
        return F.rms_norm(x, (x.shape[-1],), self.weight, self.eps)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        queries, keys = c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim
        self.q_proj = nn.Linear(c.hidden_size, queries, bias=False)
        self.k_proj = nn.Linear(c.hidden_size, keys, bias=False)
        self.v_proj = nn.Linear(c.hidden_size, keys, bias=False)
        self.o_proj = nn.Linear(queries, c.hidden_size, bias=False)

    def qkv(self, x, pos):
        """-> q, k, v as (batch, heads, tokens, head_dim); q and k rotated to pos."""
        batch, tokens, _ = x.shape
        q, k, v = (p(x).view(batch, tokens, -1, self.c.head_dim).transpose(1, 2)
                   for p in (self.q_proj, self.k_proj, self.v_proj))
        return rope(q, pos, self.c.rope_theta), rope(k, pos, self.c.rope_theta), v

    def attend(self, q, k, v, mask=None):
        """mask: (queries, keys), true where a query may look; None means causal."""
        group = self.c.num_attention_heads // self.c.num_key_value_heads
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        return self.o_proj(y.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.gate_proj = nn.Linear(c.hidden_size, c.intermediate_size, bias=False)
        self.up_proj = nn.Linear(c.hidden_size, c.intermediate_size, bias=False)
        self.down_proj = nn.Linear(c.intermediate_size, c.hidden_size, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.self_attn, self.mlp = Attention(c), Mlp(c)
        self.input_layernorm = Norm(c.hidden_size, c.rms_norm_eps)
        self.post_attention_layernorm = Norm(c.hidden_size, c.rms_norm_eps)

    def qkv(self, x, pos):
        return self.self_attn.qkv(self.input_layernorm(x), pos)

    def finish(self, x, q, k, v, mask=None):
        x = x + self.self_attn.attend(q, k, v, mask)
        return x + self.mlp(self.post_attention_layernorm(x))

    def forward(self, x, pos):
        return self.finish(x, *self.qkv(x, pos))


class Llama(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.config, self.model = c, nn.Module()
        self.model.embed_tokens = nn.Embedding(c.vocab_size, c.hidden_size)
        self.model.layers = nn.ModuleList(Layer(c) for _ in range(c.num_hidden_layers))
        self.model.norm = Norm(c.hidden_size, c.rms_norm_eps)
        self.lm_head = nn.Linear(c.hidden_size, c.vocab_size, bias=False)
        self.lm_head.weight = self.model.embed_tokens.weight
        for name, p in self.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                nn.init.zeros_(p)
            elif p.dim() == 2:
                nn.init.normal_(p, std=0.02 if "embed" in name else (0.5 / p.shape[1]) ** 0.5)

    def states(self, ids):
        """ids: (batch, tokens) -> the residual stream after each layer."""
        pos, x = torch.arange(ids.shape[1], device=ids.device), self.model.embed_tokens(ids)
        out = []
        for layer in self.model.layers:
            x = layer(x, pos)
            out.append(x)
        return out

    def logits(self, x):
        return self.lm_head(self.model.norm(x))

    def forward(self, ids):
        return self.logits(self.states(ids)[-1])


def load(folder, dtype=torch.float32):
    """-> the model of config.json and model.safetensors in `folder`, computing in dtype."""
    with open(f"{folder}/config.json", encoding="utf-8") as file:
        values = json.load(file)
    model = Llama(Config(**{f.name: values[f.name] for f in fields(Config)})).to(dtype)
    weights = {k: v.to(dtype) for k, v in load_file(f"{folder}/model.safetensors").items()}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert missing == ["lm_head.weight"] and not unexpected, (missing, unexpected)
    return model.eval()


@torch.no_grad()
def prefill(model, ids, pos, past=None):
    """ids, pos: (tokens,); past: (per layer (k, v), their positions) of tokens that came before.

    -> logits at every token of ids, and per layer the (k, v) of ids, k rotated."""
    x, new = model.model.embed_tokens(ids)[None], []
    for i, layer in enumerate(model.model.layers):
        q, k, v = layer.qkv(x, pos)
        new.append((k, v))
        key_pos = pos
        if past:
            k, v = torch.cat([past[0][i][0], k], 2), torch.cat([past[0][i][1], v], 2)
            key_pos = torch.cat([past[1], pos])
        x = layer.finish(x, q, k, v, key_pos[None] <= pos[:, None])
    return model.logits(x[0]), new

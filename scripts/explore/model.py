"""The small test model in numpy: forward pass with a (possibly lossy) KV cache; recorded Q, K, V of held-out text."""

import json
import os
import struct

import numpy as np

TINY = os.path.join(os.path.dirname(__file__), '../../tests/models/tiny')
CACHE = os.environ.get('EXPLORE_CACHE', os.path.join('build', 'explore'))
L, HQ, HK, D, THETA, EPS = 6, 4, 2, 64, 1e5, 1e-5


def bf16_bits(x):
    """float32 -> bf16 bits, nearest even."""
    u = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    return ((u + 0x7FFF + ((u >> 16) & 1)) >> 16).astype(np.uint16)


def from_bits(b):
    return (b.astype(np.uint32) << 16).view(np.float32)


def bf16(x):
    return from_bits(bf16_bits(x))


def tensors(path):
    with open(path, 'rb') as f:
        n = struct.unpack('<Q', f.read(8))[0]
        head, data = json.loads(f.read(n)), f.read()
    out = {}
    for name, h in head.items():
        if name == '__metadata__':
            continue
        a, b = h['data_offsets']
        kind = {'BF16': np.uint16, 'F32': np.float32, 'I32': np.int32}[h['dtype']]
        t = np.frombuffer(data[a:b], kind).reshape(h['shape'])
        out[name] = from_bits(t) if h['dtype'] == 'BF16' else t
    return out


def tokenize(data, lengths=None):
    words = {bytes.fromhex(w): i for i, w in enumerate(open(f'{TINY}/vocab.txt').read().split())}
    longest = max(map(len, words))
    ids, i = [], 0
    while i < len(data):
        for n in range(min(longest, len(data) - i), 0, -1):
            if data[i:i + n] in words:
                ids.append(words[data[i:i + n]])
                if lengths is not None:
                    lengths.append(n)
                i += n
                break
    return np.array(ids, np.int32)


def angles(pos):
    inv = THETA ** (-np.arange(D // 2) * 2.0 / D)
    a = np.asarray(pos)[:, None] * inv[None, :]
    return np.cos(a).astype(np.float32), np.sin(a).astype(np.float32)


def rotate(x, pos, back=False):
    """x [..., token, D]; channel i paired with i + D/2."""
    c, s = angles(pos)
    if back:
        s = -s
    a, b = x[..., :D // 2], x[..., D // 2:]
    return np.concatenate([a * c - b * s, b * c + a * s], -1)


class Model:
    def __init__(self):
        self.w = tensors(f'{TINY}/model.safetensors')

    def norm(self, x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + EPS) * self.w[name]

    def forward(self, ids, past=None, first=0, record=None):
        """Logits of ids at positions first...; past: (k, v) [L, HK, first, D], keys rotated."""
        x = self.w['model.embed_tokens.weight'][ids]
        n = len(ids)
        pos = first + np.arange(n)
        for l in range(L):
            p = f'model.layers.{l}.'
            h = self.norm(x, p + 'input_layernorm.weight')
            q = (h @ self.w[p + 'self_attn.q_proj.weight'].T).reshape(n, HQ, D).transpose(1, 0, 2)
            k = (h @ self.w[p + 'self_attn.k_proj.weight'].T).reshape(n, HK, D).transpose(1, 0, 2)
            v = (h @ self.w[p + 'self_attn.v_proj.weight'].T).reshape(n, HK, D).transpose(1, 0, 2)
            q, k = rotate(q, pos), rotate(k, pos)
            if record is not None:
                record.append((q, k, v))
            if past is not None:
                k = np.concatenate([past[0][l], k], 1)
                v = np.concatenate([past[1][l], v], 1)
            x = x + merge(attend(q, k, v, first)) @ self.w[p + 'self_attn.o_proj.weight'].T
            h = self.norm(x, p + 'post_attention_layernorm.weight')
            g = h @ self.w[p + 'mlp.gate_proj.weight'].T
            u = h @ self.w[p + 'mlp.up_proj.weight'].T
            x = x + (g / (1 + np.exp(-g)) * u) @ self.w[p + 'mlp.down_proj.weight'].T
        return self.norm(x, 'model.norm.weight') @ self.w['model.embed_tokens.weight'].T


def attend(q, k, v, first=0):
    """q [HQ, n, D], k and v [HK, first + n, D]; causal."""
    n, m = q.shape[1], k.shape[1]
    out = np.empty_like(q)
    mask = np.triu(np.full((n, m), -np.inf, np.float32), 1 + m - n)
    for h in range(q.shape[0]):
        g = h * k.shape[0] // q.shape[0]
        s = q[h] @ k[g].T / np.float32(np.sqrt(D)) + mask
        s = np.exp(s - s.max(1, keepdims=True))
        out[h] = (s / s.sum(1, keepdims=True)) @ v[g]
    return out


def merge(o):
    return o.transpose(1, 0, 2).reshape(o.shape[1], -1)


def contexts(count=20, tokens=2048):
    """Recorded contexts of held-out text: dict of ids [N, T], q [N, L, HQ, T, D], k, v [N, L, HK, T, D] (bf16 values, k rotated)."""
    path = f'{CACHE}/contexts_{count}_{tokens}_'
    names = ('ids', 'sizes', 'q', 'k', 'v')
    if not os.path.exists(path + 'v.npy'):
        os.makedirs(CACHE, exist_ok=True)
        model = Model()
        sizes = []
        ids = tokenize(open(f'{TINY}/heldout.bin', 'rb').read(), sizes)
        out = {name: [] for name in names}
        step = (len(ids) - tokens) // count
        assert step >= tokens, (len(ids), step)
        for i in range(count):
            part = np.concatenate([[0], ids[i * step:i * step + tokens - 1]])
            out['sizes'].append(np.concatenate([[1], sizes[i * step:i * step + tokens - 1]]))
            rec = []
            model.forward(part, record=rec)
            out['ids'].append(part)
            for j, name in enumerate('qkv'):
                out[name].append(np.stack([bf16_bits(r[j]) for r in rec]))
        for name in names:
            np.save(f'{path}{name}.npy', np.stack(out[name]))
    return {name: Stored(np.load(f'{path}{name}.npy', mmap_mode='r'), name in 'qkv') for name in names}


class Stored:
    """An array on disk; bf16 bits become values when they are taken."""

    def __init__(self, data, bits):
        self.data, self.bits, self.shape = data, bits, data.shape

    def __getitem__(self, i):
        x = np.asarray(self.data[i])
        return from_bits(x) if self.bits else x


if __name__ == '__main__':
    m = Model()
    ref = tensors(f'{TINY}/reference.safetensors')
    for n in (1, 17, 256, 1024):
        rec = []
        y = m.forward(ref[f'{n}.ids'], record=rec)
        y = y[-1:] if n != 17 else y
        e = np.abs(y - ref[f'{n}.logits']).max() / np.abs(ref[f'{n}.logits']).max()
        print(n, 'logits', e, 'k', np.abs(rec[-1][1] - ref[f'{n}.k']).max())
    kv = tensors(f'{TINY}/kv_heldout.safetensors')
    rec = []
    m.forward(kv['ids'], record=rec)
    k = np.stack([r[1] for r in rec])
    v = np.stack([r[2] for r in rec])
    for name, a, b in (('k', k, kv['k']), ('v', v, kv['v'])):
        print('kv_heldout', name, 'bits equal:', (bf16_bits(a) == bf16_bits(b)).mean(), 'max', np.abs(a - b).max())
    text = open(f'{TINY}/heldout.bin', 'rb').read(4000)
    print('tokeniser agrees:', (tokenize(text)[:511] == kv['ids'][1:512]).all())
    c = contexts()
    print({k: v.shape for k, v in c.items()})

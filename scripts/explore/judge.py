"""How much a lossy cache costs: error of the attention output, and bits per byte of text that follows."""

import numpy as np

from model import HK, HQ, L, Model, attend, contexts

LEARN = range(0, 12)   # contexts that a profile may see
TEST = (13, 15, 17, 19)
TOKENS = 1536          # of each test context: six chunks of 256
STRIDE = 8             # every eighth token's query is compared


class Judge:
    def __init__(self):
        c = contexts()
        self.c = c
        self.q = c['q'][list(TEST)][:, :, :, :TOKENS]
        self.k = c['k'][list(TEST)][:, :, :, :TOKENS]   # [N, L, HK, T, D] bf16 values, rotated
        self.v = c['v'][list(TEST)][:, :, :, :TOKENS]
        self.rows = np.arange(STRIDE - 1, TOKENS, STRIDE)
        self.good = [[self.attention(n, l, self.k, self.v) for l in range(L)] for n in range(len(TEST))]
        self.base = None

    def attention(self, n, l, k, v):
        q = self.q[n, l][:, self.rows]
        out = []
        for a in range(0, len(self.rows), 48):   # causal by parts: short parts see few keys
            r = self.rows[a:a + 48]
            m = r[-1] + 1
            out.append(rows_attend(q[:, a:a + 48], k[n, l][:, :m], v[n, l][:, :m], r))
        return np.concatenate(out, 1)

    def error(self, k, v, each=False):
        """Relative L2 error of the attention output per layer, averaged over layers (and contexts)."""
        e = np.zeros((len(TEST), L))
        for n in range(len(TEST)):
            for l in range(L):
                g = self.good[n][l]
                e[n, l] = np.linalg.norm(self.attention(n, l, k, v) - g) / np.linalg.norm(g)
        return e.mean(0) if each else e.mean()

    def bits_per_byte(self, k, v, cached=1280, more=256):
        """Relative increase of the bits per byte of `more` tokens behind `cached` lossy ones, in percent."""
        m = Model()
        ids = self.c['ids'][list(TEST)]
        def total(k, v):
            t = 0
            for n in range(len(TEST)):
                y = m.forward(ids[n, cached:cached + more], past=(k[n][:, :, :cached], v[n][:, :, :cached]), first=cached)
                y = y[:-1] - y[:-1].max(1, keepdims=True)
                p = y - np.log(np.exp(y).sum(1, keepdims=True))
                t -= p[np.arange(more - 1), ids[n, cached + 1:cached + more]].sum()
            return t
        if self.base is None:
            self.base = total(self.k, self.v)
        return 100 * (total(k, v) / self.base - 1)


def rows_attend(q, k, v, rows):
    out = np.empty_like(q)
    mask = np.where(np.arange(k.shape[1])[None] > rows[:, None], -np.inf, 0).astype(np.float32)
    for h in range(HQ):
        g = h * HK // HQ
        s = q[h] @ k[g].T * np.float32(1 / 8) + mask
        s = np.exp(s - s.max(1, keepdims=True))
        out[h] = (s / s.sum(1, keepdims=True)) @ v[g]
    return out


def mse(a, b):
    """Relative mean square error."""
    return float(((a - b) ** 2).sum() / (b ** 2).sum())

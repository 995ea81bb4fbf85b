"""Uniform mid-tread quantisers without a transform: how to allot the steps."""

import sys

import numpy as np

from judge import TEST, TOKENS, Judge, mse
from model import HK, L, bf16, rotate
from stats import learn

POS = np.arange(TOKENS)


def steps(s, how, level):
    """Steps per (layer, head, channel) for K and V; level: log2 of the scale, larger is finer."""
    out = []
    for p in 'kv':
        std, w = s[p + '_std'], s[p + '_weight']
        if how == 'spread':            # the same bits for every channel
            st = std
        elif how == 'water':           # every channel adds the same to the layer's squared error
            st = 1 / np.sqrt(w)
        elif how == 'half':            # half way between
            st = np.sqrt(std / np.sqrt(w))
        elif how == 'headwater':       # by the head's mean weight, channels of a head alike
            st = np.broadcast_to(1 / np.sqrt(w.mean(-1, keepdims=True)), w.shape)
        elif how == 'headhalf':
            st = np.sqrt(np.sqrt((std ** 2).mean(-1, keepdims=True)) / np.sqrt(w.mean(-1, keepdims=True))) * np.ones_like(w)
        out.append(st)
    # Fix the scale by the mean Gaussian rate, so that levels of different rules are comparable.
    r = np.concatenate([(s[p + '_std'] / st).ravel() for p, st in zip('kv', out)])
    lo, hi = -12.0, 12.0
    for _ in range(40):
        mid = (lo + hi) / 2
        if rate(r * 2 ** mid).mean() < level:
            lo = mid
        else:
            hi = mid
    return [st * 2 ** -mid for st in out]


GRID = np.exp2(np.arange(-8, 10, 0.05))


def gaussian_entropy(r):
    """Entropy of round(N(0, r))."""
    from math import erf
    n = int(10 * r + 3)
    e = np.array([erf((i + .5) / (r * 2 ** .5)) for i in range(-n - 1, n + 1)])
    p = np.diff(e) / 2
    p = p[p > 0]
    return -(p * np.log2(p)).sum()


TABLE = None


def rate(r):
    global TABLE
    if TABLE is None:
        TABLE = np.array([gaussian_entropy(x) if x < 30 else np.log2(x * np.sqrt(2 * np.pi * np.e)) for x in GRID])
    return np.interp(np.log2(np.maximum(r, 2 ** -8)), np.log2(GRID), TABLE)


def entropy(q, axes):
    """Empirical order-0 entropy, one table for each remaining index."""
    q = np.moveaxis(q, axes, range(-len(axes), 0))
    q = q.reshape(-1, int(np.prod(q.shape[-len(axes):])))
    t = 0
    for row in q:
        n = np.bincount(row - row.min())
        n = n[n > 0]
        t -= (n * np.log2(n / n.sum())).sum()
    return t / q.size


class Tensors:
    """Unrotated K and V of the judge's contexts, centred."""

    def __init__(self):
        self.j = Judge()
        self.s = learn()
        self.k = rotate(self.j.k, POS, True) - self.s['k_mean'][:, :, None]
        self.v = self.j.v - self.s['v_mean'][:, :, None]

    def back(self, k, v):
        return bf16(rotate(k + self.s['k_mean'][:, :, None].astype(np.float32), POS)), bf16(v + self.s['v_mean'][:, :, None].astype(np.float32))


def main():
    t = Tensors()
    for how in ('spread', 'water', 'half', 'headwater', 'headhalf'):
        for level in (1.0, 1.5, 2.0, 2.5, 3.0, 4.5):
            sk, sv = [x[:, :, None].astype(np.float32) for x in steps(t.s, how, level)]
            qk, qv = np.rint(t.k / sk).astype(int), np.rint(t.v / sv).astype(int)
            hk, hv = entropy(qk, (0, 3)), entropy(qv, (0, 3))
            k, v = t.back(qk * sk, qv * sv)
            e = t.j.error(k, v, True)
            print(f'{how:9} {level}: K {hk:.3f} V {hv:.3f} mean {(hk + hv) / 2:.3f} b/v; error {e.mean():.4f} by layer {e.round(3)} mse {mse(k, t.j.k):.5f} {mse(v, t.j.v):.5f} '
                  f'bpb {t.j.bits_per_byte(k, v):+.3f} %', flush=True)


if __name__ == '__main__':
    main()

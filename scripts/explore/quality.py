"""Bits per byte of text behind a lossy cache, on a larger sample: every context that no profile saw."""

import numpy as np

import cachegen
from codec import POS, Profile, learning
from model import Model, bf16, contexts, rotate

UNSEEN, CACHED, MORE = range(12, 20), 1024, 512


def main():
    c, m = contexts(), Model()
    ns = list(UNSEEN)
    k, v = c['k'][ns][:, :, :, :1536], c['v'][ns][:, :, :, :1536]

    def nats(k, v):
        out = []
        for i, n in enumerate(ns):
            ids = c['ids'][n]
            y = m.forward(ids[CACHED:CACHED + MORE], past=(k[i][:, :, :CACHED], v[i][:, :, :CACHED]), first=CACHED)[:-1]
            y = y - y.max(1, keepdims=True)
            out.append((np.log(np.exp(y).sum(1)) - y[np.arange(MORE - 1), ids[CACHED + 1:CACHED + MORE]]))
        return np.concatenate(out)

    base = nats(k, v)
    def say(name, k, v):
        d = nats(k, v) - base
        print(f'{name}: bpb {100 * d.mean() / base.mean():+.3f} % +- {100 * d.std() / np.sqrt(len(d)) / base.mean():.3f}', flush=True)

    p = learning(Profile(64, .065, gains=(0, 1, 2, 3), damp=.3))
    y = p.forward('k', rotate(k, POS, True)), p.forward('v', v)
    for level in range(4):
        say(f'KLT 64 damp .3 level {level}', bf16(rotate(p.decode('k', y[0], level), POS)), bf16(p.decode('v', y[1], level)))
    for level in (1, 2, 3):
        kk, vv, _ = cachegen.cache(k, v, level, 256)
        say(f'CacheGen {level}', kk, vv)


if __name__ == '__main__':
    main()

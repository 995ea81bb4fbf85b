"""Gain of a transform per head (KLT, Hadamard) in bits at equal error, in Gaussian theory with variances measured on unseen contexts."""

import numpy as np

from gauss import uniform
from judge import LEARN, TEST
from model import D, HK, HQ, L, angles, contexts, rotate
from stats import learn

T = 1536
GRID = np.exp2(np.arange(-4, 6, .1))
U = np.array([uniform(r)[:3] for r in GRID])


def rd(sigma, step):
    """Mean rate and sum of squared error (centroids) of components with standard deviations sigma, one step."""
    r = np.maximum(sigma / step, GRID[0])
    small = sigma / step < GRID[0]
    x = np.log2(np.minimum(r, GRID[-1]))
    g = np.log2(GRID)
    h = np.where(small, 0, np.interp(x, g, U[:, 0]))
    d = np.where(small, 1, np.exp2(np.interp(x, g, np.log2(U[:, 2])))) * sigma ** 2
    return h, d


def main():
    c, s = contexts(), learn()
    pos = np.arange(T)
    rng = np.random.default_rng(0)
    had = np.array([[1]])
    while len(had) < D:
        had = np.block([[had, had], [had, -had]])
    had = had / np.sqrt(D)

    # Full weight of K errors: E[u u^T] of queries seen from a random key's frame.
    names = ('identity, diagonal weights', 'Hadamard', 'KLT plain', 'KLT in diagonal weights', 'KLT in full weights')
    sig = {n: dict(k=np.zeros((L, HK, D)), v=np.zeros((L, HK, D))) for n in names}
    bases = {}
    for l in range(L):
        for g in range(HK):
            W = np.zeros((D, D))
            for n in list(LEARN)[::3]:
                for h in (2 * g, 2 * g + 1):
                    rows = np.arange(255, T, 8)
                    x = c['q'][n, l, h][rows]
                    for _ in range(4):
                        co, si = angles((rng.random(len(rows)) * rows).astype(int))
                        a, b = x[:, :32], x[:, 32:]
                        u = np.concatenate([a * co + b * si, b * co - a * si], 1)
                        W += u.T @ u
            W *= s['k_weight'][l, g].sum() / np.trace(W)
            for p in 'kv':
                def cov(ns):
                    x = np.concatenate([rotate(c['k'][n, l, g][:T], pos, True) if p == 'k' else c['v'][n, l, g][:T] for n in ns])
                    x = x - s[p + '_mean'][l, g]
                    return x.T @ x / len(x)
                C, Ct = cov(list(LEARN)[::2]), cov(TEST)
                if p == 'v':
                    Wp = np.eye(D) * s['v_weight'][l, g, 0]
                else:
                    Wp = W
                dg = np.sqrt(np.diag(Wp))
                w0 = np.sqrt(np.trace(Wp) / D)
                e, v = np.linalg.eigh(Wp)
                root = v @ np.diag(np.sqrt(np.maximum(e, 1e-12))) @ v.T
                maps = {names[0]: np.diag(dg), names[1]: had * w0, names[2]: np.linalg.eigh(C)[1].T * w0,
                        names[3]: np.linalg.eigh(dg[:, None] * C * dg)[1].T * dg, names[4]: np.linalg.eigh(root @ C @ root)[1].T @ root}
                # Plain orthogonal KLT: its noise is felt through W too; steps by the weight of each direction.
                for name in (names[1], names[2]):
                    m = maps[name] / w0
                    maps[name] = m * np.sqrt(np.diag(m @ Wp @ m.T))[:, None]
                for name in names:
                    m = maps[name]
                    sig[name][p][l, g] = np.sqrt(np.diag(m @ Ct @ m.T))
                    bases[name, p, l, g] = m
    for p in ('k', 'v', 'kv'):
        print('plane', p, flush=True)
        for target in (1.5, 2.0, 3.0, 4.5):
            row = []
            for name in names:
                x = np.concatenate([sig[name][q].ravel() for q in p])
                pts = []
                for step in np.exp2(np.arange(-10, 2, .1)):
                    h, d = rd(x, step)
                    pts.append((h.mean(), d.sum()))
                pts = np.array(pts)[::-1]
                if name == names[0]:
                    want = np.interp(target, pts[:, 0], np.log2(pts[:, 1]))
                row.append(np.interp(-want, -np.log2(pts[:, 1]), pts[:, 0]))
            print(f'  identity at {target} b:', '; '.join(f'{n} {r:.3f}' for n, r in zip(names, row)), flush=True)
    for name in names:
        for p in 'kv':
            print(name, p, 'std of log2 spread within a head', np.log2(sig[name][p]).std(-1).ravel().round(2))


if __name__ == '__main__':
    main()

"""Block KLTs, and the price of coding by groups: one rANS base per group, raw planes for the rest."""

import numpy as np

from gauss import split, uniform
from judge import LEARN, TEST
from model import CACHE, D, HK, HQ, L, angles, contexts, rotate
from stats import learn
from transform import rd

T = 1536


def weights_and_covariances():
    """Per (layer, head): weight matrices of K errors, covariances of K and V on learning and on test contexts."""
    path = f'{CACHE}/cov.npz'
    try:
        return dict(np.load(path))
    except OSError:
        pass
    c, s = contexts(), learn()
    pos = np.arange(T)
    rng = np.random.default_rng(0)
    out = dict(W=np.zeros((L, HK, D, D)))
    for n in list(LEARN)[::2]:
        for l in range(L):
            for h in range(HQ):
                rows = np.arange(255, T, 8)
                x = c['q'][n, l, h][rows]
                for _ in range(4):
                    co, si = angles((rng.random(len(rows)) * rows).astype(int))
                    a, b = x[:, :32], x[:, 32:]
                    u = np.concatenate([a * co + b * si, b * co - a * si], 1)
                    out['W'][l, h // 2] += u.T @ u
    out['W'] *= (s['k_weight'].sum(-1) / np.trace(out['W'], axis1=2, axis2=3))[:, :, None, None]
    for tag, ns in (('learn', list(LEARN)), ('test', list(TEST))):
        for p in 'kv':
            C = np.zeros((L, HK, D, D))
            for n in ns:
                x = rotate(c['k'][n][:, :, :T], pos, True) if p == 'k' else c['v'][n][:, :, :T]
                x = x - s[p + '_mean'][:, :, None]
                C += x.transpose(0, 1, 3, 2) @ x / T / len(ns)
            out[f'{p}_{tag}'] = C
    np.savez(path, **out)
    return out


def maps(wc, s, block, order, weight):
    """Per plane [L, HK, D, D]: rows are components, in units that attention feels alike (step 1 in each costs the same)."""
    out = {}
    for p in 'kv':
        out[p] = np.zeros((L, HK, D, D))
        for l in range(L):
            for g in range(HK):
                C = wc[p + '_learn'][l, g]
                W = wc['W'][l, g] if p == 'k' else np.eye(D) * s['v_weight'][l, g, 0]
                if order == 'pairs':      # channels i and i + 32 together
                    idx = np.arange(D).reshape(2, 32).T.ravel()
                elif order == 'greedy':   # correlated channels together
                    r = np.abs(C / np.sqrt(np.outer(np.diag(C), np.diag(C))))
                    left, idx = list(range(D)), []
                    while left:
                        part = [left.pop(0)]
                        while len(part) < block:
                            best = max(left, key=lambda i: (r[i, part] ** 2).sum())
                            left.remove(best)
                            part.append(best)
                        idx += part
                    idx = np.array(idx)
                else:
                    idx = np.arange(D)
                M = np.zeros((D, D))
                for a in range(0, D, block):
                    i = idx[a:a + block]
                    Wb = W[np.ix_(i, i)] if weight == 'full' else np.diag(np.diag(W)[i])
                    e, v = np.linalg.eigh(Wb)
                    e = np.maximum(e, e.max() * 1e-4)
                    root = v @ np.diag(np.sqrt(e)) @ v.T
                    u = np.linalg.eigh(root @ C[np.ix_(i, i)] @ root)[1].T
                    M[a:a + block][:, i] = u @ root
                out[p][l, g] = M
    return out


def spreads(wc, m, tag):
    return {p: np.sqrt(np.einsum('lhic,lhcd,lhid->lhi', m[p], wc[f'{p}_{tag}'], m[p])) for p in 'kv'}


def true_weight(wc, s, m, p):
    """Cost of unit noise in each component, by the full weight."""
    out = np.ones((L, HK, D))
    for l in range(L):
        for g in range(HK):
            W = wc['W'][l, g] if p == 'k' else np.eye(D) * s['v_weight'][l, g, 0]
            inv = np.linalg.inv(m[p][l, g])
            out[l, g] = np.einsum('ci,cd,di->i', inv, W, inv)
    return out


def curve(sig, cost):
    pts = []
    for step in np.exp2(np.arange(-9, 2, .1)):
        h, d = rd(sig, step)
        pts.append((h.mean(), (d * cost).sum()))
    return np.array(pts)[::-1]


def at(pts, want):
    return np.interp(-want, -np.log2(pts[:, 1]), pts[:, 0])


SPLIT = {}


def grouped(sig_learn, sig, cost, group, start, step, top=1.0):
    """Groups of adjacent sorted components; base r in [start, 2 start) of the group's rms, raw planes below that. Mean rate, error."""
    rate = err = 0
    n = 0
    bases = set()
    for row_l, row, c in zip(sig_learn.reshape(-1, D), sig.reshape(-1, D), cost.reshape(-1, D)):
        idx = np.argsort(-row_l)
        for a in range(0, D, group):
            i = idx[a:a + group]
            r = np.sqrt((row_l[i] ** 2).mean()) / step
            n += len(i)
            if r < start:
                err += (row[i] ** 2 * c[i]).sum()
                continue
            planes = int(np.floor(np.log2(r / start)))
            for k in i:
                rk = np.exp2(np.rint(np.log2(row[k] / step / 2 ** planes) * 20) / 20)
                key = (rk, planes)
                if key not in SPLIT:
                    o = split(rk, [2 ** planes] if planes else [])
                    SPLIT[key] = (o[-1][1], o[-1][3])
                h, d = SPLIT[key]
                rate += h
                err += d * row[k] ** 2 * c[k]
    return rate / n, err


def main():
    wc, s = weights_and_covariances(), learn()
    ref = None
    cases = [(1, 'plain', 'diag'), (8, 'pairs', 'full'), (16, 'plain', 'full'), (16, 'pairs', 'full'), (16, 'greedy', 'full'), (32, 'plain', 'full'), (32, 'greedy', 'full'),
             (64, 'plain', 'diag'), (64, 'plain', 'full')]
    for block, order, weight in cases:
        m = maps(wc, s, block, order, weight)
        sg = spreads(wc, m, 'test')
        cost = {p: true_weight(wc, s, m, p) for p in 'kv'}
        row = []
        for ps in ('kv', 'k', 'v'):
            pts = curve(np.concatenate([sg[p] for p in ps]), np.concatenate([cost[p] for p in ps]))
            if block == 1:
                ref = ref or {}
                ref[ps] = pts
            row.append(' '.join('%.3f' % at(pts, np.interp(x, ref[ps][:, 0], np.log2(ref[ps][:, 1]))) for x in (1.5, 2, 3, 4.5)))
        print(f'block {block:2} {order:6} {weight}: identity at 1.5 2 3 4.5 | both {row[0]} | K {row[1]} | V {row[2]}', flush=True)
    m = maps(wc, s, 64, 'plain', 'full')
    sl, sg = spreads(wc, m, 'learn'), spreads(wc, m, 'test')
    cost = {p: true_weight(wc, s, m, p) for p in 'kv'}
    A, B, C = (np.concatenate([x[p] for p in 'kv']) for x in (sl, sg, cost))
    full = curve(B, C)
    print('groups: rate and excess over one-piece ECSQ with a table per component at the same error')
    for group in (1, 8, 16, 32):
        for start in (.3, .4, .5, .6, .7):
            out = []
            for step in (.3, .15, .075, .0375):
                h, d = grouped(A, B, C, group, start, step)
                out.append(f'{h:.3f} {h - at(full, np.log2(d)):+.3f}')
            print(group, start, '|', ' | '.join(out), flush=True)


if __name__ == '__main__':
    main()

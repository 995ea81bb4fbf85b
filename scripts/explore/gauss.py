"""Gaussian theory of nested quantisers: rates, raw planes, reconstruction points, dead zones; 8-bit tables."""

import numpy as np
from math import erf, sqrt, pi, exp, log2


def pdf(x): return exp(-x * x / 2) / sqrt(2 * pi)
def cdf(x): return .5 * (1 + erf(x / sqrt(2)))


def cells(edges, r):
    """Mass, first and second moment of N(0, r) in the cells between edges (in steps)."""
    e = [x / r for x in edges]
    P = np.array([cdf(x) if abs(x) < 30 else (x > 0) * 1.0 for x in e])
    p1 = np.array([pdf(x) if abs(x) < 30 else 0 for x in e])
    xp = np.array([x * pdf(x) if abs(x) < 30 else 0 for x in e])
    m0 = np.diff(P)
    m1 = -np.diff(p1) * r
    m2 = (m0 - np.diff(xp)) * r * r
    return m0, m1, m2


def H(p):
    p = p[p > 1e-300]
    return float(-(p * np.log2(p)).sum())


def uniform(r, offset=.5, dead=0.):
    """Mid-tread, unit step; threshold at n - dead pulled outwards. Rate, distortion with midpoints, with centroids (both / r^2), one global shift."""
    n = int(8 * r + 3)
    pos = np.arange(0, n) + .5 + dead
    edges = np.concatenate([-pos[::-1], pos])
    m0, m1, m2 = cells(edges, r)
    mid = np.arange(-(n - 1), n)
    d_mid = (m2 - 2 * m1 * mid + m0 * mid * mid).sum()
    c = np.where(m0 > 1e-200, m1 / np.maximum(m0, 1e-200), mid)
    d_c = (m2 - m0 * c * c).sum()
    # one shift for all bins but zero: sign * (|q| - s)
    s = (np.abs(mid) * m0 - np.sign(mid) * m1)[mid != 0].sum() / max(m0[mid != 0].sum(), 1e-300)
    sh = mid - np.sign(mid) * s
    d_s = (m2 - 2 * m1 * sh + m0 * sh * sh).sum()
    return H(m0), d_mid / r / r, d_c / r / r, d_s / r / r, s


def split(r, ways):
    """Base mid-tread of unit step, each bin split in ways[0], each of those in ways[1], ... Per level: entropy in one piece, raw bits so far, distortion with midpoints, centroids."""
    n = int(8 * r + 3)
    total = 1
    out = []
    for w in [1] + list(ways):
        total *= w
        edges = (np.arange(0, (2 * n - 1) * total + 1) / total) - (n - .5)
        m0, m1, m2 = cells(edges, r)
        mid = (edges[1:] + edges[:-1]) / 2
        c = np.where(m0 > 1e-200, m1 / np.maximum(m0, 1e-200), mid)
        base = m0.reshape(-1, total)
        out.append((H(m0), H(base.sum(1)) + log2(total), (m2 - 2 * m1 * mid + m0 * mid * mid).sum() / r / r, (m2 - m0 * c * c).sum() / r / r))
    return out


def db(x): return -.5 * np.log2(x)   # bits


if __name__ == '__main__':
    print('r = std/step: rate H; gap to the rate-distortion function in bits for midpoints | centroids | one shift (shift); then dead zones .05, .1, .15 with centroids')
    for r in (.2, .3, .4, .5, .6, .7, .85, 1, 1.4, 2, 3, 5):
        h, a, c, s, sh = uniform(r)
        print(f'{r:5}: {h:.3f} | {h - db(a):.3f} {h - db(c):.3f} {h - db(s):.3f} ({sh:.3f}) |', ' '.join(f'{u[0]:.2f}b {u[0] - db(u[2]):.3f}' for u in (uniform(r, dead=d) for d in (.05, .1, .15))))
    print('nesting: base rate; per refinement: total bits raw, in one piece H, raw/H, gap to R(D) raw with midpoints, raw with centroids, conditional with centroids')
    for ways in ((2, 2), (2, 2, 2), (3, 3), (4, 4), (3, 2), (4, 2)):
        for r in (.3, .5, .7, .85, 1.0, 1.4):
            o = split(r, ways)
            print(ways, r, f'base {o[0][0]:.3f} gap {o[0][0] - db(o[0][3]):.3f} ||', ' || '.join(f'{raw:.3f} vs {h:.3f} = {raw / h:.3f}, gaps {raw - db(m):.3f} {raw - db(c):.3f} {h - db(c):.3f}' for h, raw, m, c in o[1:]))

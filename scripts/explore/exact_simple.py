"""Simpler forms of the exact step: where the floor exponent lies, what shares a table, how the bits below the floor are kept."""

import judge
judge.TEST = (13,)
import numpy as np

from codec import POS, Profile, learning
from exact import H, floor_exponent, ordered
from judge import Judge
from model import D, HK, L, bf16, rotate

t = Judge()
k = rotate(t.k, POS, True)
for block, step, gains in ((64, .065, (0, 1, 3)), (1, .065, (0, 1, 3)), (64, .065, (0, 1, 2))):
    p = learning(Profile(block, step, gains=gains))
    y = [p.forward('k', k), p.forward('v', t.v)]
    b = p.bits(y).sum(0)
    fine = b[1:5].sum()
    print(f'block {block} gains {gains}: fine {fine:.3f} b', flush=True)
    for low in (3, 2, 1, 0, -1):
        z = np.zeros(8)
        values = 0
        for plane, x, yy in (('k', t.k, y[0]), ('v', t.v, y[1])):
            d = p.decode(plane, yy, 2)
            o, oh = ordered(x), ordered(bf16(rotate(d, POS)) if plane == 'k' else bf16(d))
            e = (x - bf16(rotate(d, POS) if plane == 'k' else d)).std((0, 3))[None, :, :, None]
            T = np.floor(np.log2(e)).astype(int) + 127 + low
            A, B = floor_exponent(o, T), floor_exponent(oh, T)
            n = A - B
            values += n.size
            eh = np.maximum(np.abs(oh) >> 7, T)
            ex = np.abs(o) >> 7
            small = ex < T
            z[0] += np.where(A != 0, np.maximum(T - ex, 0), 0).sum() + 24 * (A == 0).sum()
            z[1] += 8 * small.sum() + 16 * (A == 0).sum()
            W = np.floor(np.log2(e / .45)).astype(int) + 134
            w = np.maximum(W - eh, 0)
            s = (n + (1 << w >> 1)) >> w
            w1 = np.maximum(W - T - 1 - max(low, 0), 0) + 0 * n       # one width a channel
            s1 = (n + (1 << w1 >> 1)) >> w1
            z[2] += w.sum()
            z[3] += w1.sum()
            for l in range(L):
                for h in range(HK):
                    for j, (q, half) in enumerate(((s, 7), (s1, 31))):
                        q = q[:, l, h]
                        out = np.abs(q) > half
                        z[4 + j] += H(np.bincount((np.where(out, half + 1, q) + half).ravel())) + 32 * out.sum()
                        z[6 + j] += out.sum()
        z /= values
        print(f'  floor {low:+}: variable width {z[4]:.3f} + {z[2]:.3f} raw (escapes {z[6]:.5f}); one width {z[5]:.3f} + {z[3]:.3f} raw (escapes {z[7]:.5f}); below the floor: exact widths {z[0]:.3f}, bytes {z[1]:.3f}; '
              f'all: {fine + z[4] + z[2] + z[0]:.3f} / bytes {fine + z[4] + z[2] + z[1]:.3f}; one width {fine + z[5] + z[3] + z[0]:.3f} / bytes {fine + z[5] + z[3] + z[1]:.3f}', flush=True)

"""What the step from fine to the engine's own bf16 bits costs."""

import numpy as np

import judge
judge.TEST = (13,)
import codec
from codec import D, HK, L, POS, Profile, learning
from judge import Judge
from model import bf16, bf16_bits, rotate


def ordered(x):
    b = bf16_bits(x).astype(np.int32)
    return np.where(b & 0x8000, -(b & 0x7FFF), b & 0x7FFF)


def floor_exponent(o, t):
    """Ordered bf16 with all exponents below t on the grid of exponent t (gradual underflow at 2^t, biased t)."""
    a = np.abs(o)
    e = a >> 7
    m = (a & 127) | 128
    small = np.where(e < t, m >> np.minimum(t - e, 30), 0)
    return np.sign(o) * np.where(e < t, small, a - (t << 7) + 128)


def H(n):
    n = n[n > 0].astype(float)
    return float(-(n * np.log2(n / n.sum())).sum())


def symbol_bits(s, half):
    """Entropy with |s| > half escaped (one escape symbol and 24 bits), and the share escaped."""
    out = np.abs(s) > half
    c = np.where(out, half + 1, s) + half
    return H(np.bincount(c.ravel(), minlength=2 * half + 2)) + 24 * out.sum(), out.sum()


def study(p, t):
    k = rotate(t.k, POS, True)
    total = np.zeros(8)
    values = 0
    for plane, x, y in (('k', t.k, p.forward('k', k)), ('v', t.v, p.forward('v', t.v))):
        d = p.decode(plane, y, len(p.gains) - 1)
        xh = bf16(rotate(d, POS)) if plane == 'k' else bf16(d)
        o, oh = ordered(x), ordered(xh)
        err = (x - xh).std((0, 3))   # [L, HK, D]: the profile's noise per channel (static)
        for l in range(L):
            for h in range(HK):
                a, b, e = o[:, l, h], oh[:, l, h], err[l, h]
                values += a.size
                T = np.floor(np.log2(e)).astype(int) + 127 + 2       # floor exponent per channel: 4..8 x the noise
                for c in range(D):
                    A, B = floor_exponent(a[..., c], T[c]), floor_exponent(b[..., c], T[c])
                    n = A - B
                    eh = np.maximum(np.abs(b[..., c]) >> 7, T[c])
                    # noise in units in the last place at exponent eh: e * 2^(134 - eh); r in [.45, .9)
                    w = np.maximum(np.floor(np.log2(e[c] / .45)).astype(int) + 134 - eh, 0)
                    s = (n + (1 << w >> 1)) >> w
                    bits, out = symbol_bits(s, 7)
                    total[0] += bits
                    total[1] += w.sum()
                    total[2] += out
                    ex = np.abs(a[..., c]) >> 7
                    extra = np.where(np.abs(A) > 0, np.maximum(T[c] - ex, 0), 0)
                    total[3] += extra.sum()
                    total[4] += 24 * (A == 0).sum()
                    # one width for the whole channel and one table
                    best = 1e18
                    for w1 in range(0, 8):
                        z = (n + (1 << w1 >> 1)) >> w1
                        if np.abs(z).max() < 4000:
                            q = symbol_bits(z, 31)[0] + w1 * n.size
                            best = min(best, q)
                    total[5] += best
                    # tables by the exponent of the decoded value, empirical (a bound)
                    total[6] += sum(H(np.bincount((n[eh == v] - n[eh == v].min()).ravel())) for v in np.unique(eh))
    return total / values


if __name__ == '__main__':
    t = Judge()
    for step in (.065, .13):
        p = learning(Profile(64, step))
        y = [p.forward('k', rotate(t.k, POS, True)), p.forward('v', t.v)]
        b = p.bits(y).sum(0)
        fine = b[1] + b[2] + b[3] + b[4]
        z = study(p, t)
        var = z[0] + z[1] + z[3] + z[4]
        print(f'step {step}: fine {fine:.3f} b; variable width: rANS {z[0]:.3f} (escaped {z[2]:.5f}) + raw {z[1]:.3f} + below the floor exponent {z[3]:.3f} + zeros {z[4]:.4f} = {var:.3f}; all {fine + var:.3f}, ratio {16 / (fine + var):.3f}')
        print(f'   one width and table a channel: {z[5] + z[3] + z[4]:.3f}; all {fine + z[5] + z[3] + z[4]:.3f}; bound, tables by exponent: {z[6] + z[3]:.3f}, all {fine + z[6] + z[3]:.3f}', flush=True)

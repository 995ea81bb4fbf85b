"""The proposed codec on the model's KV: transform, groups of 16 components, rANS base and raw planes, static 8-bit tables."""

import sys

import numpy as np

from blocks import maps, weights_and_covariances
import judge
from judge import LEARN, TOKENS, Judge, mse
from model import D, HK, L, bf16, contexts, rotate
from stats import learn

POS = np.arange(TOKENS)
GROUP = 16
HALF = 7       # symbols -7..7


def table8(counts, total=256):
    """Frequencies of sum 256, at least 1 for every symbol that is listed."""
    listed = counts > 0
    f = np.where(listed, np.maximum(1, np.rint(counts / counts.sum() * total)), 0).astype(int)
    p = counts / counts.sum()
    while f.sum() != total:
        d = 1 if f.sum() < total else -1
        ok = listed & (f + d >= 1)
        gain = np.where(ok, p * np.log2(np.maximum(f + d, 1) / np.maximum(f, 1)), -np.inf)
        f[np.argmax(gain)] += d
    return f


class Profile:
    def __init__(self, block, step, gains=(0, 1, 3), start=.45, weight='full', int8=True, damp=0., sort=True):
        s, wc = learn(), weights_and_covariances()
        self.s = s
        m = maps(wc, s, block, 'plain', weight if block > 1 else 'diag')
        self.fwd, self.inv = {}, {}
        for p in 'kv':
            f = m[p].copy()
            if damp:   # pull heads together: step ~ weight^-(1-damp) per head, the mean kept
                w = np.log2(np.linalg.norm(f, axis=(2, 3), keepdims=True))
                f *= np.exp2(-damp * (w - w.mean()))
            inv = np.linalg.inv(f)
            sd = np.sqrt(np.einsum('lhic,lhcd,lhid->lhi', f, wc[p + '_learn'], f))
            if sort:
                o = np.argsort(-sd, -1)
                inv = np.take_along_axis(inv, o[:, :, None, :], 3)
            if int8:   # x_c = mean + S_c * sum_i M_ci q_i: rows of int8, one scale per channel
                S = np.abs(inv).max(3, keepdims=True) / 127
                inv = np.rint(inv / S) * S
            self.inv[p] = inv
            self.fwd[p] = np.linalg.inv(inv)
            sd = np.sqrt(np.einsum('lhic,lhcd,lhid->lhi', self.fwd[p], wc[p + '_learn'], self.fwd[p]))
            setattr(self, p + '_sd', sd)
        self.step, self.gains = step, gains
        # planes[p][l, h, g]: raw planes below the base at level 0 when >= 0; a group with a negative count starts later
        self.r, self.base, self.first = {}, {}, {}
        for p in 'kv':
            sd = getattr(self, p + '_sd').reshape(L, HK, D // GROUP, GROUP)
            r = np.sqrt((sd ** 2).mean(-1)) / step
            n = np.floor(np.log2(r / start))              # base step = step * 2^n if it started at draft
            first = np.full(n.shape, len(gains))
            base = np.zeros(n.shape)
            for i in reversed(range(len(gains))):
                on = n + gains[i] >= 0
                first = np.where(on, i, first)
            self.first[p] = first
            self.base[p] = np.exp2(n) * step            # r of the base in [start, 2 start)
            self.r[p] = r

    def forward(self, p, x):
        """x [..., L, HK, T, D] unrotated -> components."""
        return np.matmul(x - self.s[p + '_mean'][:, :, None], self.fwd[p].transpose(0, 1, 3, 2).astype(np.float32))

    def codes(self, p, y):
        """Index at the finest level, in base bins of 2^planes; and the base symbol."""
        b = np.repeat(self.base[p], GROUP, -1)[:, :, None]
        return y / b

    def planes(self, p, level):
        """Raw planes of each group at a level; -1: not there yet."""
        n = np.rint(np.log2(self.base[p] / self.step)).astype(int) + self.gains[level]
        return np.where(self.first[p] <= level, n, -1)

    def quantise(self, p, y, level, clamp=True):
        """(index with planes bits below the base, planes)."""
        u = self.codes(p, y)
        if clamp:
            u = np.clip(u, -HALF - .499, HALF + .499)
        n = np.repeat(self.planes(p, level), GROUP, -1)[:, :, None]
        k = np.exp2(np.maximum(n, 0))
        return np.floor((u + .5) * k), n, k

    def fit_shifts(self, kv):
        """Reconstruction shifts toward zero per group and level, in cells of that level."""
        self.shift = {}
        self.tables = {}
        for p, y in zip('kv', kv):
            u = self.codes(p, y)
            for level in range(len(self.gains)):
                q, n, k = self.quantise(p, y, level)
                mid = (q + .5) / k - .5
                side = np.sign(mid) * (np.abs(mid) > 1e-6)
                num = ((mid - u) * side).reshape(u.shape[:-1] + (D // GROUP, GROUP)).sum((0, 3, 5))
                den = np.maximum((side != 0).reshape(u.shape[:-1] + (D // GROUP, GROUP)).sum((0, 3, 5)), 1)
                self.shift[p, level] = num / den
            base = np.clip(np.rint(u), -HALF, HALF).astype(int)
            base = base.reshape(base.shape[:-1] + (D // GROUP, GROUP))
            self.tables[p] = np.stack([(base == v).sum((0, 3, 5)) for v in range(-HALF, HALF + 1)], -1)

    def decode(self, p, y, level, shifts=True):
        q, n, k = self.quantise(p, y, level, clamp=False)
        mid = (q + .5) / k - .5
        if shifts:
            s = np.repeat(self.shift[p, level], GROUP, -1)[:, :, None]
            mid = mid - np.sign(mid) * (np.abs(mid) > 1e-6) * s
        u = np.where(n >= 0, mid, 0)
        y = u * np.repeat(self.base[p], GROUP, -1)[:, :, None]
        return np.matmul(y, self.inv[p].transpose(0, 1, 3, 2)).astype(np.float32) + self.s[p + '_mean'][:, :, None].astype(np.float32)

    def bits(self, kv, tokens=256, block=8192, floor_shared=False):
        """Per level: rANS (empirical entropy; with 8-bit static tables), raw bits, states, escapes; all per value."""
        out = np.zeros((len(self.gains), 6))
        values = 0
        for p, y in zip('kv', kv):
            u = self.codes(p, y)
            base = np.rint(u).astype(int)
            N, _, _, T, _ = u.shape
            values += u.size
            for l in range(L):
                for h in range(HK):
                    for level in range(len(self.gains)):
                        symbols = 0
                        for g in range(D // GROUP):
                            n = self.planes(p, level)[l, h, g]
                            if n < 0:
                                continue
                            b = base[:, l, h, :, g * GROUP:(g + 1) * GROUP]
                            before = self.planes(p, level - 1)[l, h, g] if level else -1
                            if before < 0:
                                f = table8(self.tables[p][l, h, g])
                                v = np.flatnonzero(f) - HALF
                                c = np.clip(b, v[0], v[-1])
                                cnt = np.array([(c == s).sum() for s in range(-HALF, HALF + 1)])
                                cc = cnt[cnt > 0]
                                out[level, 0] += -(cc * np.log2(cc / cc.sum())).sum()
                                holes = (cnt > 0) & (f == 0)
                                ff = np.maximum(f, 1)
                                out[level, 1] += (cnt * -np.log2(ff / 256)).sum()
                                out[level, 4] += 32 * ((b != c).sum() + cnt[holes].sum())
                                out[level, 2] += b.size * n
                                symbols += tokens * GROUP
                            else:
                                out[level, 2] += b.size * (n - before)
                        if symbols:
                            out[level, 3] += np.ceil(symbols / block) * 64 * 8 * (N * T / tokens)   # half of the 128 bytes is information
        return out / values


def report(prof, t, title, check_bpb=False, shifts=True):
    k = rotate(t.k, POS, True)
    y = [prof.forward('k', k), prof.forward('v', t.v)]
    b = prof.bits(y).cumsum(0)
    for level in range(len(prof.gains)):
        dk = bf16(rotate(prof.decode('k', y[0], level, shifts), POS))
        dv = bf16(prof.decode('v', y[1], level, shifts))
        e = t.error(dk, dv, True)
        H, R, raw, st, esc, _ = b[level]
        print(f'{title} level {level}: total {R + raw + st + esc:.3f} = rANS {R:.3f} (entropy {H:.3f}) + raw {raw:.3f} + states {st:.3f} + escapes {esc:.4f}; error {e.mean():.4f} {e.round(3)} '
              f'mse {mse(dk, t.k):.5f} {mse(dv, t.v):.5f}' + (f' bpb {t.bits_per_byte(dk, dv):+.3f} %' if check_bpb else ''), flush=True)


def learning(prof):
    c = contexts()
    some = [1, 5, 9]
    k = np.stack([rotate(c['k'][n][:, :, :TOKENS], POS, True) for n in some])
    v = np.stack([c['v'][n][:, :, :TOKENS] for n in some])
    prof.fit_shifts((prof.forward('k', k), prof.forward('v', v)))
    return prof


if __name__ == '__main__':
    t = Judge()
    for block, steps in ((64, (.15, .13)), (32, (.13,)), (1, (.13,))):
        for step in steps:
            p = learning(Profile(block, step))
            if block == 64 and step == .15:
                print('groups first at', {q: np.bincount(p.first[q].ravel(), minlength=4) for q in 'kv'}, 'planes at draft', {q: np.bincount(np.maximum(p.planes(q, 0), -1).ravel() + 1) for q in 'kv'})
                report(p, t, f'block {block} step {step} no shifts', shifts=False)
            report(p, t, f'block {block} step {step}')

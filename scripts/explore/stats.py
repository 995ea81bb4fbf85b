"""What a profile would learn: spreads, correlations, what attention feels. Printed for the small model."""

import numpy as np

from judge import LEARN, rows_attend
from model import CACHE, D, HK, HQ, L, angles, contexts, rotate


def second_moment_of_queries(q, k_tokens, rng):
    """E[(query seen from a key's own frame)_c^2] per KV head and channel: the query turned by minus the key's position."""
    t = q.shape[-2]
    out = np.zeros((HK, D))
    rows = np.arange(255, t, 16)
    for h in range(HQ):
        g = h * HK // HQ
        x = q[h][rows]
        for _ in range(4):
            at = (rng.random(len(rows)) * rows).astype(int)
            c, s = angles(at)
            a, b = x[:, :32], x[:, 32:]
            u = np.concatenate([a * c + b * s, b * c - a * s], 1)
            out[g] += (u * u).mean(0) / 4
    return out / (HQ // HK)


def learn(tokens=1536, contexts_used=LEARN):
    """Per (layer, head, channel): mean and spread of unrotated K and of V, weights of their errors in the attention output.

    weight: increase of |o' - o|^2 / |o|^2 of the layer per unit of noise variance in that channel, first order.
    """
    path = f'{CACHE}/stats.npz'
    try:
        return dict(np.load(path))
    except OSError:
        pass
    c = contexts()
    rng = np.random.default_rng(0)
    pos = np.arange(tokens)
    k = np.stack([rotate(c['k'][n][:, :, :tokens], pos, True) for n in contexts_used])
    v = c['v'][list(contexts_used)][:, :, :, :tokens]
    out = dict(k_mean=k.mean((0, 3)), v_mean=v.mean((0, 3)), k_std=k.std((0, 3)), v_std=v.std((0, 3)))
    q2, a2v, a2, o2 = np.zeros((L, HK, D)), np.zeros((L, HK)), np.zeros((L, HK)), np.zeros(L)
    some = list(contexts_used)[::4]
    rows = np.arange(63, tokens, 32)
    for n in some:
        for l in range(L):
            q = c['q'][n, l][:, :tokens]
            q2[l] += second_moment_of_queries(q, tokens, rng) / len(some)
            for h in range(HQ):
                g = h * HK // HQ
                s = q[h][rows] @ c['k'][n, l, g][:tokens].T / 8
                s = np.where(pos[None] > rows[:, None], -np.inf, s)
                a = np.exp(s - s.max(1, keepdims=True))
                a /= a.sum(1, keepdims=True)
                vv = c['v'][n, l, g][:tokens]
                o = a @ vv
                o2[l] += (o * o).sum() / len(rows) / len(some)
                w = a * a
                d = (vv * vv).sum(1)[None] - 2 * o @ vv.T + (o * o).sum(1)[:, None]
                a2[l, g] += w.sum() / len(rows) / len(some)
                a2v[l, g] += (w * d).sum() / len(rows) / len(some)
    out['k_weight'] = q2 / D * a2v[:, :, None] / o2[:, None, None]
    out['v_weight'] = np.broadcast_to((a2 / o2[:, None])[:, :, None], (L, HK, D)).copy()
    np.savez(path, **out)
    return out


if __name__ == '__main__':
    np.set_printoptions(precision=2, suppress=True, linewidth=180)
    s = learn()
    for name in ('k', 'v'):
        ratio = s[name + '_std'] * np.sqrt(s[name + '_weight'])
        print(name, '|mean| over std, largest per (layer, head)', (np.abs(s[name + '_mean']) / s[name + '_std']).max(-1).ravel())
        print(name, 'std, smallest / median / largest channel', s[name + '_std'].min(-1).ravel(), np.median(s[name + '_std'], -1).ravel(), s[name + '_std'].max(-1).ravel())
        print(name, 'importance std * sqrt(weight): percentiles over all channels', np.percentile(ratio, [0, 5, 25, 50, 75, 95, 100]).round(3),
              'mean of log2 per layer, head', np.log2(ratio).mean(-1).ravel(), 'std of log2 within a head', np.log2(ratio).std(-1).ravel())
    c = contexts()
    t = 1536
    kk = rotate(c['k'][13][:, :, :t], np.arange(t), True)
    v = c['v'][13][:, :, :t]
    for name, x, raw in (('k', kk, c['k'][13][:, :, :t]), ('v', v, v)):
        z = (x - s[name + '_mean'][:, :, None]) / s[name + '_std'][:, :, None]
        r = np.sqrt((z * z).mean(-1))
        print(name, 'token norms (rms of z) percentiles 0.1, 1, 50, 99, 99.9, first token:', np.percentile(r, [.1, 1, 50, 99, 99.9]), r[:, :, 0].ravel())
        print(name, 'kurtosis of z per channel, percentiles', np.percentile((z ** 4).mean(2) / (z * z).mean(2) ** 2, [5, 50, 95]),
              'after dividing by the token\'s rms', np.percentile(((z / r[..., None]) ** 4).mean(2) / ((z / r[..., None]) ** 2).mean(2) ** 2, [5, 50, 95]),
              'largest |z|', np.abs(z).max())
        print('   gain of log-variance by token scale, bits', (-(np.log2(r)).mean() + .5 * np.log2((z * z).mean())))
        for lag in (1, 2, 4, 8):
            def corr(x):
                y = x - x.mean(2, keepdims=True)
                return (y[:, :, lag:] * y[:, :, :-lag]).sum(2) / (y * y).sum(2)
            a, b = corr(x), corr(raw)
            print('   lag', lag, 'correlation unrotated: median', np.median(a).round(3), '95 %', np.percentile(a, 95).round(3), 'max', a.max().round(3),
                  'share above 0.6:', (a > .6).mean().round(4), '; as stored: median', np.median(b).round(3), '95 %', np.percentile(b, 95).round(3), 'bits by AR(1):', (-.5 * np.log2(1 - a * a)).mean().round(4), 'rotated', (-.5 * np.log2(1 - b * b)).mean().round(4))

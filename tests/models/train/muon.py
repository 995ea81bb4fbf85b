"""Muon: momentum whose updates are orthogonalised, for the weight matrices.

Newton-Schulz in float32, batched over matrices of equal shape: PyTorch's own iterates in bf16,
which is slow on CPUs without it."""
import torch

NEWTON_SCHULZ = ((4.0848, -6.8946, 2.9270), (3.9505, -6.3029, 2.6377), (3.7418, -5.5913, 2.3037),
                 (2.8769, -3.1427, 1.2046), (2.8366, -3.0525, 1.2012))


def orthogonal(x):
    """x: (matrices, rows, columns) -> the nearest with singular values of about 1."""
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for a, b, c in NEWTON_SCHULZ:
        s = x @ x.mT
        x = a * x + (b * s + c * s @ s) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    def __init__(self, params, lr, momentum=0.95):
        super().__init__(list(params), {"lr": lr, "momentum": momentum})

    def momentum_update(self, p, momentum):
        """Nesterov's: the gradient moved towards its running mean."""
        mean = self.state[p].setdefault("m", torch.zeros_like(p))
        mean.lerp_(p.grad, 1 - momentum)
        return p.grad.lerp(mean, momentum)

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            by_shape = {}
            for p in group["params"]:
                by_shape.setdefault(tuple(p.shape), []).append(p)
            for shape, params in by_shape.items():
                updates = [self.momentum_update(p, group["momentum"]) for p in params]
                scale = group["lr"] * max(1, shape[0] / shape[1]) ** 0.5
                for p, u in zip(params, orthogonal(torch.stack(updates))):
                    p.add_(u, alpha=-scale)

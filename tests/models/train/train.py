"""Trains the test model on a CPU: `train.py OUT PLAN [--from FOLDER]`.

OUT holds corpus.bin, corpus.u16 and vocab.txt (prepare.py makes them). PLAN is `scratch` or
`references`; the latter goes on from the weights in FOLDER. Progress is kept in OUT/PLAN.pt every
five minutes, and a run that was ended goes on from there. It may be stopped and continued by
SIGSTOP and SIGCONT at any time: plans count steps, not minutes.

scratch: random runs that repeat and dense recall, which form induction heads; dense chains of
references; then the mixture, with growing length. references: dense chains again, now with hints,
then the mixture. A hint is an auxiliary loss: small heads that are thrown away afterwards read the
residual stream of the middle layers behind a referring sentence and must tell the value that it
refers to. So references are resolved while they are read, which the answers alone teach slowly."""
import argparse
import math
import os
import random
import time
from typing import NamedTuple

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from llama import Config, Llama, load
from muon import Muon
from questions import (ANSWER, SPELLED, TEXT, Filler, chain_sample, copy_sample, question_sample,
                       recall_sample)
from tokens import Tokenizer


class Stage(NamedTuple):
    steps: int
    length: int      # tokens per sequence
    sequences: int   # per step
    rate: float      # Muon's
    shares: tuple    # of text, copy, recall, chains; the rest is questions
    spelled: float   # share of references that are spelled out
    hints: float     # weight of the hints' loss


PLANS = {
    "scratch": [Stage(650, 128, 32, 0.02, (0.0, 0.5, 0.5, 0.0), 0.5, 0.0),
                Stage(600, 256, 16, 0.01, (0.2, 0.0, 0.1, 0.7), 0.5, 0.0),
                Stage(640, 1024, 4, 0.01, (0.40, 0.02, 0.08, 0.20), 0.4, 0.0),
                Stage(270, 2048, 2, 0.01, (0.40, 0.02, 0.08, 0.20), 0.3, 0.0)],
    "references": [Stage(800, 256, 16, 0.008, (0.2, 0.0, 0.05, 0.6), 0.2, 0.5),
                   Stage(1200, 512, 8, 0.008, (0.3, 0.0, 0.05, 0.3), 0.1, 0.3),
                   Stage(700, 1024, 4, 0.006, (0.4, 0.02, 0.05, 0.2), 0.1, 0.1),
                   Stage(300, 2048, 2, 0.006, (0.4, 0.02, 0.08, 0.2), 0.0, 0.0)]}
FULL_RATE_UNTIL = 0.5  # of all steps; then linear to LAST_RATE
LAST_RATE, WARM_UP_STEPS, ADAM_RATE, SAVE_EVERY_S = 0.02, 50, 2e-3, 300
HINT_LAYERS = (2, 3, 4)


class Hints(nn.Module):
    """A readout of the residual stream after each of HINT_LAYERS; begins as the model's own."""

    def __init__(self, model):
        super().__init__()
        own = (model.lm_head.weight * model.model.norm.weight).detach()
        self.heads = nn.ParameterList(nn.Parameter(own.clone()) for _ in HINT_LAYERS)

    def forward(self, states, hints):
        """hints: (batch, tokens), -1 for none. -> mean loss, and accuracy by layer."""
        at, right, loss = hints >= 0, [], 0.0
        if not at.any():
            return torch.zeros(()), [math.nan] * len(HINT_LAYERS)
        for layer, head in zip(HINT_LAYERS, self.heads):
            x = states[layer][at].float()
            logits = F.rms_norm(x, x.shape[-1:]) @ head.T
            loss = loss + F.cross_entropy(logits, hints[at])
            right.append((logits.argmax(-1) == hints[at]).float().mean().item())
        return loss / len(HINT_LAYERS), right


class Data:
    def __init__(self, out, vocab_size):
        self.tok, self.vocab_size = Tokenizer(f"{out}/vocab.txt"), vocab_size
        self.corpus = np.memmap(f"{out}/corpus.u16", dtype=np.uint16, mode="r")
        with open(f"{out}/corpus.bin", "rb") as file:
            self.filler = Filler(file.read())

    def row(self, rng, stage):
        u, size = rng.random(), stage.length + 1
        text, copy, recall, chains = np.cumsum(stage.shares)
        if u < text:
            i = rng.randrange(len(self.corpus) - size)
            return self.corpus[i:i + size].tolist(), [TEXT] * size, [-1] * size
        if u < copy:
            return copy_sample(rng, size, self.vocab_size)
        if u < recall:
            return recall_sample(rng, self.tok, size)
        if u < chains:
            return chain_sample(rng, self.tok, size, stage.spelled)
        return question_sample(rng, self.filler, self.tok, size, stage.spelled)

    def batch(self, rng, stage):
        """-> ids, weights and hints, each (sequences, length + 1)."""
        rows = [self.row(rng, stage) for _ in range(stage.sequences)]
        return tuple(torch.tensor(column) for column in zip(*rows))


class Run:
    """The state of a training run: weights, optimisers, steps done."""

    def __init__(self, plan, model):
        self.stages, self.model, self.hints, self.step = plan, model, Hints(model), 0
        in_layers = {n: p for n, p in model.named_parameters() if p.dim() == 2 and "layers" in n}
        others = [p for n, p in model.named_parameters() if n not in in_layers]
        others += self.hints.parameters()
        self.muon = Muon(in_layers.values(), lr=0.0)
        self.adam = torch.optim.AdamW(others, lr=0.0, betas=(0.9, 0.98), weight_decay=0.0)

    def parts(self):
        return {"model": self.model, "hints": self.hints, "muon": self.muon, "adam": self.adam}

    def save(self, path):
        state = {name: part.state_dict() for name, part in self.parts().items()}
        torch.save({"step": self.step, **state}, f"{path}.new")
        os.replace(f"{path}.new", path)

    def restore(self, path):
        state = torch.load(path)
        self.step = state["step"]
        for name, part in self.parts().items():
            part.load_state_dict(state[name])

    def stage(self):
        """-> the stage of this step, or None after the last."""
        left = self.step
        for stage in self.stages:
            if left < stage.steps:
                return stage
            left -= stage.steps
        return None

    def set_rates(self, stage):
        late = self.step / sum(s.steps for s in self.stages)
        rate = min(1.0, (1 - late) / (1 - FULL_RATE_UNTIL))
        rate = max(LAST_RATE, rate) * min(1.0, (self.step + 1) / WARM_UP_STEPS)
        for group in self.muon.param_groups:
            group["lr"] = stage.rate * rate
        for group in self.adam.param_groups:
            group["lr"] = ADAM_RATE * rate

    def learn(self, stage, ids, weights, hints):
        """One step. -> figures for the log: bits per token by kind, share of right answers."""
        self.set_rates(stage)
        with torch.autocast("cpu", torch.bfloat16):
            states = self.model.states(ids[:, :-1])
            logits = self.model.logits(states[-1])
        w, target = weights[:, 1:], ids[:, 1:]
        losses = F.cross_entropy(logits.float().transpose(1, 2), target, reduction="none")
        hint_loss, hint_right = torch.zeros(()), []
        if stage.hints:
            hint_loss, hint_right = self.hints(states, hints[:, :-1])
        ((losses * w).sum() / w.sum() + stage.hints * hint_loss).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimiser in (self.muon, self.adam):
            optimiser.step()
            optimiser.zero_grad()
        self.step += 1
        kinds = {"text": TEXT, "spelled": SPELLED, "answer": ANSWER}
        at = {name: (w - value).abs() < 1e-3 for name, value in kinds.items()}
        figures = {n: losses[mask].mean().item() / math.log(2) for n, mask in at.items()}
        figures["right"] = (logits.argmax(-1) == target)[at["answer"]].float().mean().item()
        return figures | {f"hint{n}": x for n, x in zip(HINT_LAYERS, hint_right)}


def mean_of(figures):
    return {k: round(float(np.nanmean([f.get(k, math.nan) for f in figures])), 3)
            for k in figures[-1]}


def main(out, plan, start_from):
    torch.manual_seed(1)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    path = f"{out}/{plan}.pt"
    run = Run(PLANS[plan], load(start_from).train() if start_from else Llama(Config()))
    if os.path.exists(path):
        run.restore(path)
    data, rng = Data(out, run.model.config.vocab_size), random.Random(run.step + 1)
    saved, began, recent = time.monotonic(), time.monotonic(), []
    while stage := run.stage():
        recent.append(run.learn(stage, *data.batch(rng, stage)))
        if run.step % 25 == 0:
            rate = len(recent) * stage.length * stage.sequences / (time.monotonic() - began)
            print(f"step {run.step}, {stage.length} tokens, {rate:.0f}/s:", mean_of(recent),
                  flush=True)
            began, recent = time.monotonic(), []
        if time.monotonic() - saved > SAVE_EVERY_S:
            saved = time.monotonic()
            run.save(path)
    run.save(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Trains the test model.")
    parser.add_argument("out")
    parser.add_argument("plan", choices=PLANS)
    parser.add_argument("--from", dest="start_from", metavar="FOLDER")
    arguments = parser.parse_args()
    main(arguments.out, arguments.plan, arguments.start_from)

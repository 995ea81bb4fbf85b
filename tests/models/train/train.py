"""Trains the test model on a CPU: `train.py OUT PLAN [--from FOLDER]`.

OUT holds corpus.bin, corpus.u16 and vocab.txt (prepare.py makes them). PLAN is `scratch` or
`references`; the latter goes on from the weights in FOLDER. Progress is kept in OUT/PLAN.pt every
five minutes and on SIGTERM, and a run that was ended goes on from there. It may be stopped and
continued by SIGSTOP and SIGCONT at any time: plans count steps, not minutes.

scratch: random runs that repeat and dense recall, which form induction heads; dense chains of
references; then the mixture, with growing length. references: many facts without filler, and with
hints, then the mixture. Hints are auxiliary losses. At the other name of a reference the residual
stream of the middle layers must tell the value referred to, and attention must look at the fact
that has it; at the end of a question the last layer must look at the fact that is asked for. So
references are resolved while they are read, in layers that leave one for the question. The answers
alone teach that slowly: where a head does not look yet, its softmax passes hardly any gradient."""
import argparse
import math
import os
import random
import signal
import time
from typing import NamedTuple

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from llama import Config, Llama, load
from muon import Muon
from questions import (ANSWER, SPELLED, TEXT, Filler, chain_sample, copy_sample, crowded_sample,
                       question_sample, recall_sample)
from tokens import Tokenizer


class Stage(NamedTuple):
    steps: int
    length: int      # tokens per sequence
    sequences: int   # per step
    rate: float      # Muon's
    shares: tuple    # of text, copy, recall, chains, crowded; the rest is questions
    spelled: float   # share of references that are spelled out
    hints: float     # weight of the hints' loss


PLANS = {
    "scratch": [Stage(650, 128, 32, 0.02, (0.0, 0.5, 0.5, 0.0, 0.0), 0.5, 0.0),
                Stage(600, 256, 16, 0.01, (0.2, 0.0, 0.1, 0.7, 0.0), 0.5, 0.0),
                Stage(640, 1024, 4, 0.01, (0.4, 0.02, 0.08, 0.2, 0.0), 0.4, 0.0),
                Stage(270, 2048, 2, 0.01, (0.4, 0.02, 0.08, 0.2, 0.0), 0.3, 0.0)],
    "references": [Stage(165, 256, 12, 0.010, (0.15, 0.0, 0.02, 0.0, 0.75), 0.05, 0.5),
                   Stage(200, 512, 6, 0.006, (0.55, 0.0, 0.03, 0.0, 0.12), 0.05, 0.3),
                   Stage(40, 1024, 3, 0.006, (0.55, 0.0, 0.05, 0.0, 0.1), 0.0, 0.1),
                   Stage(15, 2048, 2, 0.006, (0.5, 0.0, 0.05, 0.0, 0.0), 0.0, 0.0)]}
FULL_RATE_UNTIL = 0.4  # of all steps; then linear to LAST_RATE
LAST_RATE, WARM_UP_STEPS, ADAM_RATE, SAVE_EVERY_S = 0.02, 20, 2e-3, 300
TELLS = (2, 3, 4)  # the layers after which a value that is referred to should be known
LOOKS = {"reference": {3: (2, 3), 4: (2, 3)}, "question": {5: (0, 1, 2)}}  # layers and their heads


class Hints(nn.Module):
    """The auxiliary losses; their readout of the residual stream begins as the model's own."""

    def __init__(self, model):
        super().__init__()
        own = (model.lm_head.weight * model.model.norm.weight).detach()
        self.heads = nn.ParameterList(nn.Parameter(own.clone()) for _ in TELLS)

    def tell(self, states, values):
        """values: (batch, tokens), -1 for none. -> loss, and accuracies by layer."""
        at, loss, right = values >= 0, torch.zeros(()), {}
        for layer, head in zip(TELLS, self.heads) if at.any() else ():
            x = states[layer][at].float()
            logits = F.rms_norm(x, x.shape[-1:]) @ head.T
            loss = loss + F.cross_entropy(logits, values[at]) / len(TELLS)
            hit = logits.argmax(-1) == values[at]
            right[f"tells{layer}"] = hit.float().mean().item()
        return loss, right

    @staticmethod
    def look(model, states, at, sources):
        """at: kind -> (batch, tokens), who looks; sources: where. -> loss, and mean attention."""
        loss, seen, pos = torch.zeros(()), {}, torch.arange(sources.shape[1])
        for kind, layers in LOOKS.items():
            row, here = at[kind].nonzero(as_tuple=True)
            for layer, heads in layers.items() if len(row) else ():
                q, k, _ = model.model.layers[layer].qkv(states[layer - 1], pos)
                k = k.repeat_interleave(q.shape[1] // k.shape[1], 1)
                scores = (q[:, heads] @ k[:, heads].mT)[row, :, here].float() / q.shape[-1] ** 0.5
                scores = scores.masked_fill(pos > here[:, None, None], -math.inf)
                there = sources[row, here][:, None, None].expand(-1, len(heads), 1)
                found = scores.log_softmax(-1).gather(2, there)
                loss = loss - found.mean() / sum(map(len, LOOKS.values()))
                seen[f"looks{layer}"] = found.exp().mean().item()
        return loss, seen

    def forward(self, model, states, values, sources):
        told, right = self.tell(states, values)
        at = {"reference": (sources >= 0) & (values >= 0),
              "question": (sources >= 0) & (values < 0)}
        found, seen = self.look(model, states, at, sources)
        return told + found, right | seen


class Data:
    def __init__(self, out, vocab_size):
        self.tok, self.vocab_size = Tokenizer(f"{out}/vocab.txt"), vocab_size
        self.corpus = np.memmap(f"{out}/corpus.u16", dtype=np.uint16, mode="r")
        with open(f"{out}/corpus.bin", "rb") as file:
            self.filler = Filler(file.read())

    def row(self, rng, stage):
        u, size = rng.random(), stage.length + 1
        text, copy, recall, chains, crowded = np.cumsum(stage.shares)
        if u < text:
            i = rng.randrange(len(self.corpus) - size)
            return self.corpus[i:i + size].tolist(), [TEXT] * size, [-1] * size, [-1] * size
        if u < copy:
            return copy_sample(rng, size, self.vocab_size)
        if u < recall:
            return recall_sample(rng, self.tok, size)
        if u < chains:
            return chain_sample(rng, self.tok, size, stage.spelled)
        if u < crowded:
            return crowded_sample(rng, self.tok, size, stage.spelled)
        return question_sample(rng, self.filler, self.tok, size, stage.spelled)

    def batch(self, rng, stage):
        """-> ids, weights, values and sources, each (sequences, length + 1)."""
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

    def learn(self, stage, ids, weights, values, sources):
        """One step. -> figures for the log: bits per token by kind, share of right answers."""
        self.set_rates(stage)
        hint_loss, hint_figures = 0.0, {}
        with torch.autocast("cpu", torch.bfloat16):
            states = self.model.states(ids[:, :-1])
            logits = self.model.logits(states[-1])
            if stage.hints:
                hint_loss, hint_figures = self.hints(self.model, states, values[:, :-1],
                                                     sources[:, :-1])
        w, target = weights[:, 1:], ids[:, 1:]
        losses = F.cross_entropy(logits.float().transpose(1, 2), target, reduction="none")
        ((losses * w).sum() / w.sum() + stage.hints * hint_loss).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        with torch.autocast("cpu", torch.bfloat16):
            self.muon.step()
        self.adam.step()
        self.model.zero_grad()
        self.hints.zero_grad()
        self.step += 1
        kinds = {"text": TEXT, "spelled": SPELLED, "answer": ANSWER}
        at = {name: (w - value).abs() < 1e-3 for name, value in kinds.items()}
        figures = {n: losses[mask].mean().item() / math.log(2) for n, mask in at.items()}
        figures["right"] = (logits.argmax(-1) == target)[at["answer"]].float().mean().item()
        return figures | hint_figures


def mean_of(figures):
    """-> {name: mean over the steps that had it}."""
    names = sorted({name for f in figures for name in f})
    had = {name: [f[name] for f in figures if not math.isnan(f.get(name, math.nan))]
           for name in names}
    return {name: round(sum(x) / len(x), 3) for name, x in had.items() if x}


def main(out, plan, start_from):
    torch.manual_seed(1)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    path = f"{out}/{plan}.pt"
    run = Run(PLANS[plan], load(start_from).train() if start_from else Llama(Config()))
    if os.path.exists(path):
        run.restore(path)
    data, rng = Data(out, run.model.config.vocab_size), random.Random(run.step + 1)
    saved, began, recent, asked_to_end = time.monotonic(), time.monotonic(), [], []
    signal.signal(signal.SIGTERM, lambda *_: asked_to_end.append(True))
    while not asked_to_end and (stage := run.stage()):
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

"""Trains a latent model on prompts and answers.

    python -m isotherm_train.train START.gguf EXAMPLES.jsonl RUN_FOLDER --steps 2000 [--held-out FILE]

RUN_FOLDER holds the checkpoint, the log (one JSON object a line), the loss curve and, at the end, the model
as model.gguf. The same command goes on where it was stopped, batch for batch. With --steps the schedule
depends on steps alone, so two runs make the same model; with --minutes alone it follows the time spent.
"""

import argparse
import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from . import data, gguf_io, mla, plot


@dataclass
class Progress:
    step: int = 0
    epoch: int = 0
    # Batches of this epoch that are done.
    batches: int = 0
    tokens: int = 0
    seconds: float = 0.0


def learning_rate(peak: float, done: float, step: int, warmup: int) -> float:
    """Linear warm-up, then a cosine down to a twentieth of the peak."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    return peak * min(1.0, (step + 1) / warmup) * (0.05 + 0.95 * cosine)


def optimizer_for(model: torch.nn.Module, decay: float) -> torch.optim.AdamW:
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.95), fused=True)


@torch.no_grad()
def held_out(model, examples: list[data.Example], size: int) -> dict[str, float]:
    """Loss, and the share of answers of which every token is the likeliest."""
    model.eval()
    loss = weight = right = 0.0
    for start in range(0, len(examples), size):
        tokens, weights, branches = data.batch(examples[start : start + size])
        with mla.half_precision():
            hidden = model.hidden(tokens[:, :-1], branches[:, :-1])
            wanted = weights[:, 1:] > 0
            logits = model.logits(hidden[wanted]).float()
        target = tokens[:, 1:][wanted]
        loss += torch.nn.functional.cross_entropy(logits, target, reduction="sum").item()
        weight += len(target)
        hit = torch.zeros_like(wanted)
        hit[wanted] = logits.argmax(-1) == target
        right += (hit | ~wanted).all(1).sum().item()
    model.train()
    return {"held_out_loss": loss / weight, "held_out_exact": right / len(examples)}


def save(path: Path, value: object) -> None:
    """The old checkpoint stays until the new one is whole."""
    partial = path.with_suffix(".partial")
    torch.save(value, partial)
    with open(partial, "rb") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)


class Run:
    def __init__(self, args: argparse.Namespace):
        self.args = args
        self.folder: Path = args.folder
        self.folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(args.seed)
        torch.set_num_threads(args.threads)
        self.loaded = gguf_io.read(args.start)
        self.model = self.loaded.model.train()
        tokenizer = self.loaded.vocabulary.tokenizer()
        self.examples = data.load(args.examples, tokenizer, args.longest)
        self.held_out = data.load(args.held_out, tokenizer, args.longest)[: args.held_out_count] if args.held_out else []
        self.optimizer = optimizer_for(self.model, args.decay)
        self.progress = Progress()
        self.checkpoint = self.folder / "checkpoint.pt"
        if self.checkpoint.exists():
            self.restore()

    def restore(self) -> None:
        state = torch.load(self.checkpoint, weights_only=False)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"])
        self.progress = state["progress"]
        print(f"goes on at step {self.progress.step}", flush=True)

    def store(self) -> None:
        save(
            self.checkpoint,
            {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "rng": torch.get_rng_state(),
                "progress": self.progress,
            },
        )
        plot.curves(self.folder / "log.jsonl", self.folder / "loss.svg")

    def done(self) -> float:
        """From 0 to 1."""
        if self.args.steps:
            return self.progress.step / self.args.steps
        return self.progress.seconds / (60 * self.args.minutes)

    def log(self, **values) -> None:
        entry = {"step": self.progress.step, "tokens": self.progress.tokens, "seconds": round(self.progress.seconds, 1)} | values
        with open(self.folder / "log.jsonl", "a") as file:
            file.write(json.dumps(entry) + "\n")
        print(entry, flush=True)

    def step(self, chosen: list[data.Example]) -> dict[str, float]:
        rate = learning_rate(self.args.rate, self.done(), self.progress.step, self.args.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        # One after the other: what all of them need at once would not fit into a processor's cache.
        batches = [data.batch([e], self.args.prompt_weight, self.args.choice_weight) for e in chosen]
        counts = sum(weights.sum().item() for _, weights, _ in batches)
        total = 0.0
        for tokens, weights, branches in batches:
            with mla.half_precision():
                loss = self.model.loss(tokens, weights, branches) * (weights.sum() / counts)
            loss.backward()
            total += loss.item()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.progress.tokens += sum(len(e.tokens) for e in chosen)
        return {"loss": total, "gradient": norm.item(), "rate": rate}

    def run(self) -> None:
        args, progress = self.args, self.progress
        budget = 60 * args.minutes if args.minutes else math.inf
        began = progress.seconds
        stored = time.monotonic()
        while self.done() < 1 and progress.seconds - began < budget:
            batches = data.order(self.examples, args.batch, args.seed, progress.epoch)
            for chosen in batches[progress.batches :]:
                start = time.monotonic()
                facts = self.step([self.examples[i] for i in chosen])
                progress.step += 1
                progress.batches += 1
                progress.seconds += time.monotonic() - start
                if progress.step % args.log_every == 0:
                    self.log(**facts)
                if self.held_out and progress.step % args.check_every == 0:
                    self.log(**held_out(self.model, self.held_out, args.batch))
                if time.monotonic() - stored > 60 * args.checkpoint_minutes:
                    self.store()
                    stored = time.monotonic()
                if self.done() >= 1 or progress.seconds - began >= budget:
                    break
            else:
                progress.epoch += 1
                progress.batches = 0
        if self.held_out:
            self.log(**held_out(self.model, self.held_out, args.batch))
        self.store()
        # What compression lost has been learned again, as far as the log says.
        self.loaded.about.pop("isotherm.mla.needs_training", None)
        gguf_io.write(self.folder / "model.gguf", self.loaded, "f32")


def main() -> None:
    parser = argparse.ArgumentParser(description="Trains a latent model on prompts and answers.")
    parser.add_argument("start", type=Path, help="latent GGUF to start from")
    parser.add_argument("examples", type=Path, help="JSON lines, see data.py")
    parser.add_argument("folder", type=Path, help="where checkpoint, log and model go")
    parser.add_argument("--held-out", type=Path, help="examples that are only measured")
    parser.add_argument("--held-out-count", type=int, default=64)
    parser.add_argument("--steps", type=int, help="steps in all")
    parser.add_argument("--minutes", type=float, help="stop after so many minutes of this call")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--longest", type=int, default=4096, help="most tokens of an example, with all its branches")
    parser.add_argument("--rate", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument("--warmup", type=int, default=50, help="steps")
    parser.add_argument("--decay", type=float, default=0.01)
    parser.add_argument("--prompt-weight", type=float, default=0.0, help="what a token of the prompt counts")
    choices = "what a token of the order, the setpoints or a move counts"
    parser.add_argument("--choice-weight", type=float, default=1.0, help=choices)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--log-every", type=int, default=10)
    parser.add_argument("--check-every", type=int, default=100)
    parser.add_argument("--checkpoint-minutes", type=float, default=10.0)
    args = parser.parse_args()
    if not (args.steps or args.minutes):
        parser.error("give --steps or --minutes")
    Run(args).run()


if __name__ == "__main__":
    main()

"""Trains a policy on a log: TD3+BC (Fujimoto and Gu, 2021).

    python -m isotherm_train.rl.learn LOG.csv SITE.toml RUN_FOLDER --seed 1 [--alpha 2.5] [--steps 6000]

RUN_FOLDER holds the checkpoint, the log of the training (one JSON object a line) and, at the end, policy.pt.
The same command goes on where it was stopped, batch for batch.
"""

import argparse
import json
import math
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import nn

from . import log

# A minute's choice pays over hours: of a window's cost, four hours later 44 % still counts.
DISCOUNT = 0.95
BATCH = 256
ACTOR, CRITIC = 64, 128
TARGET_RATE = 0.02
# Noise on the target's action, and its bound.
SMOOTH, SMOOTH_MOST = 0.1, 0.3
PEAK_RATE = 1e-3
REPORT_EVERY = 250
CHECKPOINT_EVERY = 1000
CLIP = 5.0


def actor(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, ACTOR), nn.ReLU(), nn.Linear(ACTOR, ACTOR), nn.ReLU(), nn.Linear(ACTOR, outputs), nn.Tanh()
    )


class Critics(nn.Module):
    """Two critics, as one batched product."""

    def __init__(self, inputs: int):
        super().__init__()
        sizes = [inputs, CRITIC, CRITIC, 1]
        bound = [1 / math.sqrt(n) for n in sizes[:-1]]
        shapes = list(zip(sizes[:-1], sizes[1:]))
        self.weights = nn.ParameterList(
            torch.empty(2, a, b).uniform_(-k, k) for k, (a, b) in zip(bound, shapes)
        )
        self.biases = nn.ParameterList(torch.zeros(2, 1, b) for _, b in shapes)

    def forward(self, states: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        x = torch.cat([states, actions], 1).expand(2, -1, -1)
        for i, (w, b) in enumerate(zip(self.weights, self.biases)):
            x = torch.baddbmm(b, x, w)
            if i < len(self.weights) - 1:
                # Normalised layers keep a critic from running away where the log has nothing to say.
                x = torch.relu(nn.functional.layer_norm(x, x.shape[-1:]))
        return x.squeeze(-1)


class Scaling:
    """States to units of their own spread, actions to shares of the moves that the log has."""

    def __init__(self, seen: log.Transitions):
        self.mean = seen.states.mean(0)
        self.sd = np.maximum(seen.states.std(0), 1e-3)
        moves = seen.actions
        most = [[np.quantile(-m[m < 0], 0.99), np.quantile(m[m > 0], 0.99)] for m in moves.T]
        # By setpoint, share of its range: towards warmer, towards colder.
        self.reach = np.array(most)

    def states(self, raw: np.ndarray) -> torch.Tensor:
        return torch.tensor(np.clip((raw - self.mean) / self.sd, -CLIP, CLIP), dtype=torch.float32)

    def actions(self, moves: np.ndarray) -> torch.Tensor:
        scaled = np.where(moves < 0, moves / self.reach[:, 0], moves / self.reach[:, 1])
        return torch.tensor(np.clip(scaled, -1, 1), dtype=torch.float32)


class Learner:
    def __init__(self, inputs: int, outputs: int, seed: int, alpha: float, steps: int):
        torch.manual_seed(seed)
        self.alpha, self.steps, self.step = alpha, steps, 0
        self.actor, self.slow_actor = actor(inputs, outputs), actor(inputs, outputs)
        self.critics, self.slow_critics = Critics(inputs + outputs), Critics(inputs + outputs)
        self.slow_actor.load_state_dict(self.actor.state_dict())
        self.slow_critics.load_state_dict(self.critics.state_dict())
        self.actor_optimizer = torch.optim.Adam(self.actor.parameters(), lr=PEAK_RATE, fused=True)
        self.critic_optimizer = torch.optim.Adam(self.critics.parameters(), lr=PEAK_RATE, fused=True)
        self.random = torch.Generator().manual_seed(seed)

    def parts(self) -> dict[str, torch.nn.Module | torch.optim.Optimizer]:
        names = ("actor", "slow_actor", "critics", "slow_critics", "actor_optimizer", "critic_optimizer")
        return {n: getattr(self, n) for n in names}

    def save(self, path: Path) -> None:
        kept = {n: p.state_dict() for n, p in self.parts().items()}
        temporary = path.with_suffix(".tmp")
        torch.save(kept | {"step": self.step, "random": self.random.get_state()}, temporary)
        os.replace(temporary, path)

    def load(self, path: Path) -> None:
        kept = torch.load(path, weights_only=True)
        for name, part in self.parts().items():
            part.load_state_dict(kept[name])
        self.step = kept["step"]
        self.random.set_state(kept["random"])

    def update(self, states, actions, rewards, nexts) -> dict[str, float]:
        rate = PEAK_RATE * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * self.step / self.steps)))
        for optimizer in (self.actor_optimizer, self.critic_optimizer):
            optimizer.param_groups[0]["lr"] = rate
        picked = torch.randint(len(states), (BATCH,), generator=self.random)
        s, a, r, then = states[picked], actions[picked], rewards[picked], nexts[picked]
        with torch.no_grad():
            noise = torch.randn(a.shape, generator=self.random) * SMOOTH
            following = (self.slow_actor(then) + noise.clamp(-SMOOTH_MOST, SMOOTH_MOST)).clamp(-1, 1)
            wanted = r + DISCOUNT * self.slow_critics(then, following).amin(0)
        critic_loss = (self.critics(s, a) - wanted).square().mean() * 2
        self.critic_optimizer.zero_grad(set_to_none=True)
        critic_loss.backward()
        self.critic_optimizer.step()
        report = {"critic_loss": critic_loss}
        if self.step % 2 == 0:
            own = self.actor(s)
            value = self.critics(s, own)[0]
            copied = (own - a).square().mean()
            loss = copied - self.alpha * value.mean() / value.abs().mean().detach()
            self.actor_optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.actor_optimizer.step()
            report |= {"value": value.mean(), "copied": copied}
            with torch.no_grad():
                for slow, fast in ((self.slow_actor, self.actor), (self.slow_critics, self.critics)):
                    torch._foreach_lerp_(list(slow.parameters()), list(fast.parameters()), TARGET_RATE)
        self.step += 1
        return {k: v.item() for k, v in report.items()} if self.step % REPORT_EVERY == 1 else {}


def scaled(rewards: np.ndarray) -> torch.Tensor:
    """So that values, sums over many windows, are numbers around one, which networks learn soonest."""
    return torch.tensor(rewards * (1 - DISCOUNT) / rewards.std(), dtype=torch.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description="Trains a policy on a log of decisions.")
    parser.add_argument("log", type=Path)
    parser.add_argument("site", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--alpha", type=float, default=2.5, help="weight of the value against imitation")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--over", type=float, default=log.Weights.over)
    parser.add_argument("--facility", type=float, default=log.Weights.facility)
    parser.add_argument("--move", type=float, default=log.Weights.move)
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.run.mkdir(parents=True, exist_ok=True)
    site = log.Site.read(args.site)
    weights = log.Weights(over=args.over, facility=args.facility, move=args.move)
    seen, usual = log.transitions(args.log, site, weights)
    scaling = Scaling(seen)
    states, nexts = scaling.states(seen.states), scaling.states(seen.nexts)
    actions, rewards = scaling.actions(seen.actions), scaled(seen.rewards)
    learner = Learner(states.shape[1], actions.shape[1], args.seed, args.alpha, args.steps)
    checkpoint, report = args.run / "checkpoint.pt", args.run / "log.jsonl"
    if checkpoint.exists():
        learner.load(checkpoint)
    print(f"{len(states)} transitions, {states.shape[1]} features; from step {learner.step}", flush=True)
    with report.open("a") as out:
        while learner.step < args.steps:
            said = learner.update(states, actions, rewards, nexts)
            if said:
                out.write(json.dumps({"step": learner.step} | said) + "\n")
                out.flush()
            if learner.step % CHECKPOINT_EVERY == 0:
                learner.save(checkpoint)
    settings = asdict(weights) | {"alpha": args.alpha, "seed": args.seed, "steps": args.steps, "transitions": len(states)}
    torch.save(
        {
            "actor": learner.slow_actor.state_dict(),
            "mean": torch.tensor(scaling.mean),
            "sd": torch.tensor(scaling.sd),
            "reach": torch.tensor(scaling.reach),
            "usual": torch.tensor(usual),
            "settings": settings,
        },
        args.run / "policy.pt",
    )


if __name__ == "__main__":
    main()

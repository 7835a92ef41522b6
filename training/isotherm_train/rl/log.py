"""Logs of decisions as transitions.

A state is what the policy sees at a decision: every signal and setpoint, how far each has come since the
decision before, and how far it is from its own running mean. `src/policy/rl/memory.rs` computes the same.
An action is how far each setpoint is moved within WINDOW decisions, as a share of its range towards colder.
"""

import csv
import tomllib
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np

# Decisions of one action: in 15 min the guard's pace lets every setpoint move by a step, warmer too.
WINDOW = 3
# Of the running mean: half of a change is forgotten after four decisions.
MEAN_WEIGHT = 1 / 6


@dataclass
class Setpoint:
    name: str
    low: float
    high: float
    cools: str

    def share(self, values: np.ndarray) -> np.ndarray:
        """0 is the warmest end, 1 the coldest."""
        warm = (values - self.low) / (self.high - self.low)
        return warm if self.cools == "up" else 1 - warm


@dataclass
class Site:
    plant: str
    signals: list[str]
    setpoints: list[Setpoint]

    @staticmethod
    def read(path: Path) -> "Site":
        table = tomllib.loads(path.read_text())
        setpoints = [Setpoint(s["name"], float(s["min"]), float(s["max"]), s["cools"]) for s in table["setpoint"]]
        return Site(table["plant"], [s["name"] for s in table["signal"]], setpoints)


@dataclass(frozen=True)
class Weights:
    """What a decision costs, in percent of the log's mean facility power; see docs/rl.md."""

    cooling: float = 1.0
    facility: float = 1.0
    over: float = 30.0
    throttled: float = 10.0
    move: float = 0.0


@dataclass
class Run:
    """One plant under one behaviour, a row a decision."""

    minutes: list[float] = field(default_factory=list)
    values: list[list[float]] = field(default_factory=list)
    outcomes: list[list[float]] = field(default_factory=list)


@dataclass
class Transitions:
    states: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    nexts: np.ndarray


def runs(path: Path, site: Site) -> dict[tuple[str, int, str], Run]:
    """By scenario, seed and behaviour."""
    names = site.signals + [s.name for s in site.setpoints]
    found: dict[tuple[str, int, str], Run] = defaultdict(Run)
    with path.open(newline="") as file:
        rows = csv.reader(file)
        column = {name: i for i, name in enumerate(next(rows))}
        missing = [n for n in names if n not in column]
        if missing:
            raise SystemExit(f"{path}: no columns {', '.join(missing)}: is it the log of this site?")
        wanted = [column[n] for n in names]
        brought = [column[n] for n in ("cooling_kw", "facility_kw", "over_degh", "throttled_gpu_h")]
        for row in rows:
            run = found[row[column["scenario"]], int(row[column["seed"]]), row[column["behaviour"]]]
            run.minutes.append(datetime.fromisoformat(row[column["time"]]).timestamp() / 60)
            run.values.append([float(row[i]) if row[i] else np.nan for i in wanted])
            run.outcomes.append([float(row[i]) for i in brought])
    return found


def features(values: np.ndarray, minutes: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """What the policy sees at every row; a value that is missing stays what it was."""
    out = np.empty((len(values), 3 * values.shape[1]), np.float64)
    last, mean, before = usual.copy(), None, None
    for i, row in enumerate(values):
        now = np.where(np.isnan(row), last, row)
        if before is None or minutes[i] - before > 2.5 * 5:
            last, mean = now, now.copy()
        mean = mean + MEAN_WEIGHT * (now - mean)
        out[i] = np.concatenate([now, now - last, now - mean])
        last, before = now, minutes[i]
    return out


def baseline(logged: dict[tuple[str, int, str], Run]) -> dict[tuple[str, int, str], np.ndarray]:
    """Facility and cooling power less what the *other* behaviours took at that minute under the same weather
    and work. What the plant was given is left out of the reward that way, what was done about it stays."""
    groups = defaultdict(list)
    for scenario, seed, behaviour in logged:
        groups[scenario, seed].append(behaviour)
    relative = {}
    for (scenario, seed), behaviours in groups.items():
        sums: dict[float, np.ndarray] = defaultdict(lambda: np.zeros(3))
        for b in behaviours:
            run = logged[scenario, seed, b]
            for minute, outcome in zip(run.minutes, run.outcomes):
                sums[minute] += np.array([outcome[0], outcome[1], 1.0])
        for b in behaviours:
            run = logged[scenario, seed, b]
            own = np.array(run.outcomes)[:, :2]
            total = np.array([sums[m] for m in run.minutes])
            others = np.maximum(total[:, 2:] - 1, 1)
            relative[scenario, seed, b] = np.where(total[:, 2:] > 1, own - (total[:, :2] - own) / others, 0.0)
    return relative


def transitions(path: Path, site: Site, weights: Weights) -> tuple[Transitions, np.ndarray]:
    """All transitions of a log, and what each value usually is."""
    logged = runs(path, site)
    usual = np.nanmean(np.concatenate([np.array(r.values) for r in logged.values()]), axis=0)
    facility = np.mean(np.concatenate([np.array(r.outcomes)[:, 1] for r in logged.values()]))
    relative = baseline(logged)
    states, actions, rewards, nexts = [], [], [], []
    for key, run in logged.items():
        values, minutes, outcomes = np.array(run.values), np.array(run.minutes), np.array(run.outcomes)
        seen = features(values, minutes, usual)
        places = seen[:, len(site.signals) : len(site.signals) + len(site.setpoints)]
        shares = np.stack([s.share(places[:, i]) for i, s in enumerate(site.setpoints)], axis=1)
        # Over an hour: kelvins above the band, and GPUs throttled.
        hours = np.diff(minutes, append=minutes[-1] + 5) / 60
        over, throttled = outcomes[:, 2] / hours, outcomes[:, 3] / hours
        power = weights.cooling * relative[key][:, 0] + weights.facility * relative[key][:, 1]
        moved = np.abs(np.diff(shares, axis=0, append=shares[-1:])).sum(axis=1)
        cost = 100 * power / facility + weights.over * over + weights.throttled * throttled / 100
        cost += weights.move * 100 * moved
        start = np.arange(len(values) - WINDOW)
        whole = np.abs(minutes[start + WINDOW] - minutes[start] - 5 * WINDOW) < 0.5
        start = start[whole]
        states.append(seen[start])
        nexts.append(seen[start + WINDOW])
        actions.append(shares[start + WINDOW] - shares[start])
        rewards.append(-np.mean([cost[start + k] for k in range(WINDOW)], axis=0))
    joined = [np.concatenate(part) for part in (states, actions, rewards, nexts)]
    return Transitions(*joined), usual

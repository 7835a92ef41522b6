"""Writes a trained policy as the file that Isotherm reads, and what it says to part of a log, for the tests there.

    python -m isotherm_train.rl.export RUN_FOLDER SITE.toml POLICY.json [--recorded FILE.json --log LOG.csv]
"""

import argparse
import json
import tomllib
from pathlib import Path

import numpy as np
import torch

from . import learn, log

DIGITS = 5
# Rows of the log that are recorded, and the row and signal of a value that is taken away there.
ROWS, GAP = 12, (3, 0)


def short(values) -> list:
    """Rounded as it is written, so that PyTorch and Isotherm compute with the same numbers."""
    if isinstance(values, list):
        return [short(v) for v in values]
    return float(f"{values:.{DIGITS}g}")


def policy(run: Path, site_file: Path) -> dict:
    kept = torch.load(run / "policy.pt", weights_only=True)
    site, table = log.Site.read(site_file), tomllib.loads(site_file.read_text())
    units = {s["name"]: s["unit"] for s in table["signal"] + table["setpoint"]}
    setpoints = [
        {"name": s.name, "unit": units[s.name], "min": s.low, "max": s.high, "cools": s.cools}
        | {"warmer": warmer, "colder": colder}
        for s, (warmer, colder) in zip(site.setpoints, short(kept["reach"].tolist()))
    ]
    names = [name for name in kept["actor"] if name.endswith(".weight")]
    layers = [
        {"weights": short(kept["actor"][n].tolist()), "bias": short(kept["actor"][n.replace("weight", "bias")].tolist())}
        for n in names
    ]
    return {
        "format": "isotherm-rl@1",
        "trained": {"algorithm": "TD3+BC"} | kept["settings"],
        "cadence_s": 300,
        "signals": [{"name": n, "unit": units[n]} for n in site.signals],
        "setpoints": setpoints,
        "usual": short(kept["usual"].tolist()),
        "mean": short(kept["mean"].tolist()),
        "sd": short(kept["sd"].tolist()),
        "layers": layers,
    }


@torch.no_grad()
def recorded(made: dict, site: log.Site, path: Path) -> dict:
    """Rows of the log as they came, and the network's outputs to them in PyTorch."""
    run = next(iter(log.runs(path, site).values()))
    values, minutes = np.array(run.values)[:ROWS], np.array(run.minutes)[:ROWS]
    values[GAP] = np.nan
    seen = log.features(values, minutes, np.array(made["usual"]))
    network = learn.actor(seen.shape[1], len(site.setpoints))
    parts = [torch.tensor(part) for layer in made["layers"] for part in (layer["weights"], layer["bias"])]
    network.load_state_dict(dict(zip(network.state_dict(), parts)))
    scaled = (seen - np.array(made["mean"])) / np.array(made["sd"])
    outputs = network(torch.tensor(np.clip(scaled, -learn.CLIP, learn.CLIP), dtype=torch.float32))
    rows = [[None if np.isnan(v) else v for v in row] for row in values.tolist()]
    return {"values": rows, "outputs": short(outputs.tolist())}


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes a trained policy as a file for Isotherm.")
    parser.add_argument("run", type=Path)
    parser.add_argument("site", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--recorded", type=Path)
    parser.add_argument("--log", type=Path)
    args = parser.parse_args()
    made = policy(args.run, args.site)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(made, separators=(",", ":")) + "\n")
    if args.recorded and args.log:
        said = recorded(made, log.Site.read(args.site), args.log)
        args.recorded.write_text(json.dumps(said, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()

"""Loss curves as pictures."""

import json
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402


def curves(log: Path, picture: Path) -> None:
    if not log.exists():
        return
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    figure, axes = plt.subplots(figsize=(7, 4))
    for key, label in (("loss", "training"), ("held_out_loss", "held out")):
        points = [(e["tokens"] / 1e6, e[key]) for e in entries if key in e]
        if points:
            axes.plot(*zip(*points), label=label, linewidth=1)
    axes.set(xlabel="million tokens", ylabel="loss, nats a token", yscale="log")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(picture, metadata={"Date": None})
    plt.close(figure)

"""Smaller models out of larger ones: fewer layers, fewer tokens."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import ModuleList

from .gguf_io import Loaded
from .mla import Model, half_precision


def layers(loaded: Loaded, keep: list[int]) -> Loaded:
    """Only the layers `keep`, in that order."""
    state = loaded.model.state_dict()
    model = Model(replace(loaded.model.shape, layers=len(keep)))
    kept = {name: tensor for name, tensor in state.items() if not name.startswith("blocks.")}
    for new, old in enumerate(keep):
        prefix = f"blocks.{old}."
        for name, tensor in state.items():
            if name.startswith(prefix):
                kept[f"blocks.{new}.{name.removeprefix(prefix)}"] = tensor
    model.load_state_dict(kept)
    return replace(loaded, model=model)


def vocabulary(loaded: Loaded, count: int) -> Loaded:
    """Only the first `count` tokens."""
    state = dict(loaded.model.state_dict())
    state["embedding.weight"] = state["embedding.weight"][:count]
    model = Model(replace(loaded.model.shape, vocabulary=count))
    model.load_state_dict(state)
    return replace(loaded, model=model, vocabulary=loaded.vocabulary.first(count))


def evenly(total: int, keep: int) -> list[int]:
    """`keep` of `total` layers: the first, the last, and evenly between them."""
    return [round(i * (total - 1) / (keep - 1)) for i in range(keep)]


@torch.no_grad()
def least_needed(loaded: Loaded, keep: int, tokens: Tensor, at_once: int = 4) -> list[int]:
    """Takes away layers in rounds, each time those without which the loss on `tokens` is lowest, until `keep`
    are left. `at_once`: most of a round, and no more than a fifth of what is left."""
    blocks = list(loaded.model.blocks)
    left = list(range(len(blocks)))
    ones = torch.ones(tokens.shape)

    def loss(kept: list[int]) -> float:
        loaded.model.blocks = ModuleList(blocks[i] for i in kept)
        with half_precision():
            return loaded.model.loss(tokens, ones).item()

    while len(left) > keep:
        trials = sorted((loss([k for k in left if k != gone]), gone) for gone in left)
        count = max(1, min(at_once, len(left) // 5, len(left) - keep))
        gone = {layer for _, layer in trials[:count]}
        left = [k for k in left if k not in gone]
        print(f"{len(left)} layers: loss {loss(left):.3f} without {sorted(gone)}; kept {left}", flush=True)
    loaded.model.blocks = ModuleList(blocks)
    return left

"""Smaller models out of larger ones: fewer layers, fewer tokens."""

from dataclasses import replace

from .gguf_io import Loaded
from .mla import Model


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

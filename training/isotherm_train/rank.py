"""What a trained student loses when its latent gets smaller, without training it again.

    python -m isotherm_train.rank STUDENT.gguf EXAMPLES.jsonl HELD_OUT.jsonl --ranks 96,64,48,32 --out FOLDER

For each layer the latent of the examples' tokens is looked at. Of what keys and values are made from it, each
divided by its size, the best factors of a lower rank are kept (the eigenvectors of their covariance). Prints, by
rank: cache bytes a token in f16, the error of restored keys and values, and loss on the held-out answers.
"""

import argparse
import dataclasses
from pathlib import Path

import torch
from torch import Tensor

from . import data, gguf_io, mla
from .train import held_out


@torch.no_grad()
def latents(model: mla.Model, examples: list[data.Example], size: int) -> list[Tensor]:
    """For each layer, E[c cᵀ] of its latent c over the examples' tokens, padding left out."""
    sums = [torch.zeros(model.shape.rank, model.shape.rank, dtype=torch.float64) for _ in model.blocks]
    seen: list[Tensor] = []
    hooks = [
        b.attention.kv_a.register_forward_hook(lambda module, _, out: seen.append(out[..., : model.shape.rank]))
        for b in model.blocks
    ]
    count = 0
    for start in range(0, len(examples), size):
        chosen = examples[start : start + size]
        tokens, _, branches = data.batch(chosen)
        seen.clear()
        model.hidden(tokens, branches)
        for row, e in enumerate(chosen):
            count += len(e.tokens)
            for layer, out in enumerate(seen):
                c = out[row, : len(e.tokens)].double()
                sums[layer] += c.T @ c
    for hook in hooks:
        hook.remove()
    return [s / count for s in sums]


@dataclasses.dataclass
class Factors:
    """Of a layer: down to the latent, and up to keys and values; and the share of each that is lost."""

    down: Tensor
    keys: Tensor
    values: Tensor
    key_error: float
    value_error: float


def factors(attention: mla.LatentAttention, covariance: Tensor, rank: int) -> Factors:
    keys, values = attention.k_b.detach().double(), attention.v_b.detach().double()
    power = lambda m: (m @ covariance @ m.T).trace().sqrt()  # noqa: E731
    joint = torch.cat((keys / power(keys), values / power(values)))
    strength, directions = torch.linalg.eigh(joint @ covariance @ joint.T)
    best = directions[:, -rank:]
    scale = strength[-rank:].clamp(min=1e-12).sqrt()
    down = (best / scale).T @ joint
    up = best * scale
    up_keys, up_values = up[: len(keys)] * power(keys), up[len(keys) :] * power(values)
    lost = lambda m, up: float(power(m - up @ down) / power(m))  # noqa: E731
    return Factors(down, up_keys, up_values, lost(keys, up_keys), lost(values, up_values))


def smaller(model: mla.Model, covariances: list[Tensor], rank: int) -> tuple[mla.Model, float, float]:
    """The model with latents of this rank, and the mean error of keys and values."""
    result = mla.Model(dataclasses.replace(model.shape, rank=rank))
    state = model.state_dict()
    key_errors, value_errors = [], []
    for layer, covariance in enumerate(covariances):
        f = factors(model.blocks[layer].attention, covariance, rank)
        at = f"blocks.{layer}.attention"
        kv_a = state[f"{at}.kv_a.weight"]
        latent, rotary = kv_a[: model.shape.rank], kv_a[model.shape.rank :]
        state[f"{at}.kv_a.weight"] = torch.cat(((f.down @ latent.double()).float(), rotary))
        state[f"{at}.k_b"], state[f"{at}.v_b"] = f.keys.float(), f.values.float()
        key_errors.append(f.key_error)
        value_errors.append(f.value_error)
    result.load_state_dict(state)
    mean = lambda errors: sum(errors) / len(errors)  # noqa: E731
    return result, mean(key_errors), mean(value_errors)


def main() -> None:
    parser = argparse.ArgumentParser(description="Loss of a trained student by the rank of its latent.")
    parser.add_argument("student", type=Path, help="latent GGUF")
    parser.add_argument("examples", type=Path, help="lessons that the latent is measured on")
    parser.add_argument("held_out", type=Path, help="lessons that the loss is measured on")
    parser.add_argument("--ranks", default="96,64,48,32,16")
    parser.add_argument("--count", type=int, default=64, help="lessons of each")
    parser.add_argument("--longest", type=int, default=8192, help="tokens of a lesson at most")
    parser.add_argument("--out", type=Path, help="a folder for the models, as rank-R.gguf")
    parser.add_argument("--kind", choices=["f32", "f16", "q8_0", "q4_0"], default="q4_0", help="their number format")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    loaded = gguf_io.read(args.student)
    student, tokenizer = loaded.model.eval(), loaded.vocabulary.tokenizer()
    covariances = latents(student, data.load(args.examples, tokenizer, args.longest)[: args.count], 8)
    unseen = data.load(args.held_out, tokenizer, args.longest)[: args.count]
    print("| rank | cache bytes a token | key error | value error | held-out loss |")
    print("|---|---|---|---|---|")
    for rank in [int(r) for r in args.ranks.split(",")]:
        model, key_error, value_error = smaller(student, covariances, rank)
        found = held_out(model, unseen, 8)
        cache = 2 * model.shape.layers * (rank + model.shape.rope_dims)
        loss = found["held_out_loss"]
        print(f"| {rank} | {cache:,} | {key_error:.3f} | {value_error:.3f} | {loss:.4f} |", flush=True)
        if args.out:
            args.out.mkdir(parents=True, exist_ok=True)
            loaded.model = model
            gguf_io.write(args.out / f"rank-{rank}.gguf", loaded, args.kind)


if __name__ == "__main__":
    main()

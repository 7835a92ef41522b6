"""Examples as token batches, in an order that the seed alone decides."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

END = "<|im_end|>"
# Where an answer says what was asked and what is done: of all its tokens those that no other wording could replace.
CHOICE = re.compile(r'"setpoints":{[^}]*}|"Order: [^;"]*;|\b([Rr]aise|[Ll]ower|[Hh]old)\b( [\w.-]+)?')


@dataclass(frozen=True)
class Example:
    tokens: np.ndarray
    # Which tokens are of an answer, and learned.
    learned: np.ndarray
    weight: float
    # Places of the tokens that say what is done.
    choice: np.ndarray
    # Which branch a token is of; 0 for what all branches have before them.
    branch: np.ndarray


def load(path: Path, tokenizer: Tokenizer, longest: int) -> list[Example]:
    """Reads lines of {"prompt", "answer", "weight"?}. Prompt and answer become tokens apart, as they do when
    the model is asked; the answer ends with the end of its turn. Lines of {"prompt", "branches": [{"prompt",
    "answer"}, ...]} go on in several ways, none of which sees another, with all markup in them. Lines of {"text"}
    are learned from beginning to end."""
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    examples = [example(line, tokenizer) for line in lines]
    for number, found in enumerate(examples, 1):
        if len(found.tokens) > longest:
            raise ValueError(f"{path}:{number}: {len(found.tokens)} tokens, and the limit is {longest}")
    if not examples:
        raise ValueError(f"{path}: no examples")
    return examples


def example(line: dict, tokenizer: Tokenizer) -> Example:
    if "branches" in line:
        parts = [(line["prompt"], "", 0)]
        parts += [(b["prompt"], b["answer"], number) for number, b in enumerate(line["branches"], 1)]
    else:
        parts = [("", line["text"], 0)] if "text" in line else [(line["prompt"], line["answer"] + END, 0)]
    tokens: list[int] = []
    learned: list[bool] = []
    branch: list[int] = []
    choice: list[np.ndarray] = []
    for prompt, answer, number in parts:
        before, after = tokenizer.encode(prompt), tokenizer.encode(answer)
        tokens += before.ids
        if "text" not in line:
            choice.append(chosen(answer, after.offsets, len(tokens)))
        tokens += after.ids
        learned += [False] * len(before.ids) + [True] * len(after.ids)
        branch += [number] * (len(before.ids) + len(after.ids))
    places = np.concatenate([np.zeros(0, dtype=np.int64), *choice])
    weight = float(line.get("weight", 1.0))
    return Example(np.array(tokens, dtype=np.int32), np.array(learned), weight, places, np.array(branch))


def chosen(answer: str, offsets: list[tuple[int, int]], shift: int) -> np.ndarray:
    """Places of the tokens that say what is done, `shift` tokens on; none where nothing does."""
    said = [found.span() for found in CHOICE.finditer(answer)]
    inside = [i for i, (start, end) in enumerate(offsets) if any(start < b and end > a for a, b in said)]
    return np.array(inside, dtype=np.int64) + shift


def order(examples: list[Example], size: int, seed: int, epoch: int) -> list[list[int]]:
    """Batches of one pass."""
    shuffled = np.random.default_rng((seed, epoch)).permutation(len(examples)).tolist()
    return [shuffled[i : i + size] for i in range(0, len(shuffled), size)]


def batch(
    examples: list[Example], prompt_weight: float = 0.0, choice_weight: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens padded on the right, what predicting each of them counts, and which branch each is of."""
    longest = max(len(e.tokens) for e in examples)
    tokens = torch.zeros(len(examples), longest, dtype=torch.long)
    weights = torch.zeros(len(examples), longest)
    branches = torch.zeros(len(examples), longest, dtype=torch.long)
    for row, e in enumerate(examples):
        tokens[row, : len(e.tokens)] = torch.from_numpy(e.tokens)
        learned = torch.from_numpy(e.learned)
        weights[row, : len(e.tokens)] = e.weight * torch.where(learned, 1.0, prompt_weight)
        weights[row, torch.from_numpy(e.choice)] = choice_weight * e.weight
        branches[row, : len(e.tokens)] = torch.from_numpy(e.branch)
    return tokens, weights, branches

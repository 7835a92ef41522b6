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
CHOICE = re.compile(r'"setpoints":{[^}]*}|"Order: [^;"]*;|\b([Rr]aise|[Ll]ower|[Hh]old)\b')


@dataclass(frozen=True)
class Example:
    tokens: np.ndarray
    # Which tokens are of an answer, and learned.
    learned: np.ndarray
    weight: float
    # Places of the tokens that say what is done.
    choice: np.ndarray


def load(path: Path, tokenizer: Tokenizer, longest: int) -> list[Example]:
    """Reads lines of {"prompt", "answer", "weight"?}. Prompt and answer become tokens apart, as they do when
    the model is asked; the answer ends with the end of its turn. Lines of {"turns": [[prompt, answer], ...]} are
    several in a row, with all markup in their prompts. Lines of {"text"} are learned from beginning to end."""
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    examples = [example(line, tokenizer) for line in lines]
    for number, found in enumerate(examples, 1):
        if len(found.tokens) > longest:
            raise ValueError(f"{path}:{number}: {len(found.tokens)} tokens, and the limit is {longest}")
    if not examples:
        raise ValueError(f"{path}: no examples")
    return examples


def example(line: dict, tokenizer: Tokenizer) -> Example:
    if "text" in line:
        turns = [["", line["text"]]]
    elif "turns" in line:
        turns = line["turns"]
    else:
        turns = [[line["prompt"], line["answer"] + END]]
    tokens: list[int] = []
    learned: list[bool] = []
    choice: list[np.ndarray] = []
    for prompt, answer in turns:
        before, after = tokenizer.encode(prompt), tokenizer.encode(answer)
        tokens += before.ids
        if "text" not in line:
            choice.append(chosen(answer, after.offsets, len(tokens)))
        tokens += after.ids
        learned += [False] * len(before.ids) + [True] * len(after.ids)
    places = np.concatenate([np.zeros(0, dtype=np.int64), *choice])
    return Example(np.array(tokens, dtype=np.int32), np.array(learned), float(line.get("weight", 1.0)), places)


def chosen(answer: str, offsets: list[tuple[int, int]], shift: int) -> np.ndarray:
    """Places of the tokens that say what is done, `shift` tokens on; none where nothing does."""
    said = [found.span() for found in CHOICE.finditer(answer)]
    inside = [i for i, (start, end) in enumerate(offsets) if any(start < b and end > a for a, b in said)]
    return np.array(inside, dtype=np.int64) + shift


def order(examples: list[Example], size: int, seed: int, epoch: int) -> list[list[int]]:
    """Batches of one pass. Neighbours in length share a batch, to pad little; batches come in random order."""
    random = np.random.default_rng((seed, epoch))
    shuffled = random.permutation(len(examples))
    batches = []
    for start in range(0, len(shuffled), size * 32):
        window = sorted(shuffled[start : start + size * 32].tolist(), key=lambda i: len(examples[i].tokens))
        batches += [window[i : i + size] for i in range(0, len(window), size)]
    return [batches[i] for i in random.permutation(len(batches))]


def batch(
    examples: list[Example], prompt_weight: float = 0.0, choice_weight: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Tokens padded on the right, and what predicting each of them counts."""
    longest = max(len(e.tokens) for e in examples)
    tokens = torch.zeros(len(examples), longest, dtype=torch.long)
    weights = torch.zeros(len(examples), longest)
    for row, e in enumerate(examples):
        tokens[row, : len(e.tokens)] = torch.from_numpy(e.tokens)
        learned = torch.from_numpy(e.learned)
        weights[row, : len(e.tokens)] = e.weight * torch.where(learned, 1.0, prompt_weight)
        weights[row, torch.from_numpy(e.choice)] = choice_weight * e.weight
    return tokens, weights

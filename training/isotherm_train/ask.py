"""Asks a model through Isotherm's own reasoner process, under a schema, and holds its answers against the
expected ones and against PyTorch.

    python -m isotherm_train.ask ../target/release/isotherm model.gguf held-out.jsonl --schema schema.json
"""

import argparse
import json
import statistics
import struct
import subprocess
from pathlib import Path

import torch

from . import gguf_io

BODY = "<|im_start|>user\n"


class Reasoner:
    """`isotherm reasoner`: JSON messages behind their length."""

    def __init__(self, program: Path, model: Path, context: int = 2048, threads: int = 2):
        self.process = subprocess.Popen(
            [program, "reasoner"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        load = {"path": str(model.resolve()), "sha256": None, "context": context, "threads": threads, "memory_limit_mb": None}
        reply = self.send({"type": "load"} | load)
        if reply["type"] != "loaded":
            raise RuntimeError(f"{model}: {reply}")

    def send(self, message: dict) -> dict:
        body = json.dumps(message).encode()
        self.process.stdin.write(struct.pack(">I", len(body)) + body)
        self.process.stdin.flush()
        (size,) = struct.unpack(">I", self.process.stdout.read(4))
        return json.loads(self.process.stdout.read(size))

    def ask(self, prompt: str, schema: dict) -> dict:
        """The completion, or what went wrong under "failure"."""
        at = prompt.index(BODY) + len(BODY)
        request = {
            "prefix": prompt[:at],
            "body": prompt[at:],
            "schema": schema,
            "sampler": {"max_tokens": 400, "temperature": 0.0, "seed": 1},
            "deadline": "PT60S",
        }
        result = self.send({"type": "ask", "id": 1, "request": request})["result"]
        return result.get("Ok") or {"failure": result["Err"]}

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=30)


def agreement(loaded: gguf_io.Loaded, prompt: str, completion: dict) -> tuple[int, int]:
    """Of the tokens that were chosen and not forced, how many PyTorch finds likeliest too."""
    ids = loaded.vocabulary.tokenizer().encode(prompt).ids
    chosen = [t["id"] for t in completion["tokens"]]
    with torch.no_grad():
        hidden = loaded.model.hidden(torch.tensor([ids + chosen]))[0, len(ids) - 1 : -1]
        likeliest = loaded.model.logits(hidden).argmax(-1).tolist()
    free = [(a, b) for a, b, t in zip(chosen, likeliest, completion["tokens"]) if t["p"] < 1.0]
    return sum(a == b for a, b in free), len(free)


def main() -> None:
    parser = argparse.ArgumentParser(description="Asks a model through the reasoner process.")
    parser.add_argument("program", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("examples", type=Path)
    parser.add_argument("--schema", type=Path, required=True)
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--torch", type=Path, help="the same model for PyTorch: count where both choose alike")
    args = parser.parse_args()
    torch.set_num_threads(2)
    examples = [json.loads(line) for line in args.examples.read_text().splitlines()[: args.count]]
    schema = json.loads(args.schema.read_text())
    loaded = gguf_io.read(args.torch) if args.torch else None
    reasoner = Reasoner(args.program, args.model)
    exact = failures = same = free = 0
    times, tokens, forced = [], [], []
    for example in examples:
        completion = reasoner.ask(example["prompt"], schema)
        if "failure" in completion:
            failures += 1
            print(completion["failure"])
            continue
        exact += completion["text"] == example["answer"]
        times.append(completion["prefill_ms"] + completion["decode_ms"])
        tokens.append(len(completion["tokens"]))
        forced.append(completion["forced_tokens"])
        if loaded:
            alike, of = agreement(loaded, example["prompt"], completion)
            same, free = same + alike, free + of
        if completion["text"] != example["answer"]:
            print(f"expected {example['answer']}\n     got {completion['text']}")
    reasoner.close()
    report = {
        "asked": len(examples),
        "failures": failures,
        "exact": exact,
        "p50_ms": round(statistics.median(times), 1),
        "tokens": statistics.mean(tokens),
        "forced_tokens": statistics.mean(forced),
    }
    if loaded:
        report |= {"chosen_tokens": free, "likeliest_in_torch": same}
    print(json.dumps(report))


if __name__ == "__main__":
    main()

"""Loss of models on plain text, in nats a token.

    python -m isotherm_train.measure docs/envelope.md MODEL.gguf ...
"""

import argparse
from pathlib import Path

import torch

from . import gguf_io


def main() -> None:
    parser = argparse.ArgumentParser(description="Loss of models on a text, in nats a token.")
    parser.add_argument("text", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--tokens", type=int, default=1024)
    args = parser.parse_args()
    torch.set_num_threads(2)
    for path in args.models:
        loaded = gguf_io.read(path)
        ids = loaded.vocabulary.tokenizer().encode(args.text.read_text()).ids[: args.tokens]
        tokens = torch.tensor([ids])
        with torch.no_grad():
            loss = loaded.model.loss(tokens, torch.ones(tokens.shape)).item()
        print(f"{loss:.3f}  {len(ids)} tokens  {path}", flush=True)


if __name__ == "__main__":
    main()

"""Makes a small student out of a latent model: fewer layers, fewer tokens.

    isotherm model compress BASE.gguf latent.gguf --rank 96 --rope-dims 32
    python -m isotherm_train.prepare latent.gguf start.gguf --layers 0,1,2,7,11,15,20,29 --vocabulary 8192
"""

import argparse
from pathlib import Path

import torch

from . import gguf_io, prune


def main() -> None:
    parser = argparse.ArgumentParser(description="Takes layers and tokens away from a latent model.")
    parser.add_argument("latent", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--layers", help="which to keep: 0,1,5; or how many, chosen by --text")
    parser.add_argument("--text", type=Path, action="append", help="files on which layers prove that they are needed")
    parser.add_argument("--vocabulary", type=int, help="how many tokens to keep")
    parser.add_argument("--tokens", type=int, default=256, help="tokens of each text that are read")
    args = parser.parse_args()
    loaded = gguf_io.read(args.latent)
    if args.layers and "," in args.layers:
        loaded = prune.layers(loaded, [int(n) for n in args.layers.split(",")])
    elif args.layers:
        if not args.text:
            parser.error("--layers with a number needs --text")
        tokenizer = loaded.vocabulary.tokenizer()
        rows = [tokenizer.encode(path.read_text()).ids[: args.tokens] for path in args.text]
        shortest = min(len(row) for row in rows)
        tokens = torch.tensor([row[:shortest] for row in rows])
        loaded = prune.layers(loaded, prune.least_needed(loaded, int(args.layers), tokens))
    if args.vocabulary:
        loaded = prune.vocabulary(loaded, args.vocabulary)
    gguf_io.write(args.out, loaded, "f32")


if __name__ == "__main__":
    main()

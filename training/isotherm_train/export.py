"""Writes a trained model in the number format that ships.

    python -m isotherm_train.export RUN/model.gguf OUT.gguf --kind q8_0
"""

import argparse
from pathlib import Path

from . import gguf_io


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes a latent model in another number format.")
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--kind", choices=["f32", "f16", "q8_0", "q4_0"], default="q8_0")
    args = parser.parse_args()
    gguf_io.write(args.out, gguf_io.read(args.model), args.kind)


if __name__ == "__main__":
    main()

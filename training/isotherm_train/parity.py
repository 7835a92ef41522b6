"""Does the model in PyTorch say what llama.cpp says? In two environments, since the second one is the tests':

    ../.cache/train-venv/bin/python -m isotherm_train.parity torch parity.json MODEL.gguf ...
    ../.cache/venv/bin/python -m isotherm_train.parity llama parity.json
"""

import argparse
import json
from pathlib import Path

TEXT = (
    "<|im_start|>system\nControl cooling of hall_a (air).\nchws_sp degC 6 to 16 step 0.5\n<|im_end|>\n"
    "<|im_start|>user\nhistory 10:15 26.1 rising, IT load up 18 %, naïve.\nset chws_sp 8\n<|im_end|>\n"
    '<|im_start|>assistant\n{"assessment":"hottest inlet 26.1 and rising"}'
)
# Lengths of prompts after which the next token's probabilities are compared; 0 stands for all.
LENGTHS = (1, 5, 20, 60, 0)
# Tokens less likely than this are left out.
LEAST = -12.0


def in_torch(out: Path, models: list[Path]) -> None:
    import torch

    from . import gguf_io

    torch.set_num_threads(2)
    found = {}
    for path in models:
        loaded = gguf_io.read(path)
        ids = loaded.vocabulary.tokenizer().encode(TEXT).ids
        with torch.no_grad():
            logits = loaded.model(torch.tensor([ids]))[0]
        ends = [length or len(ids) for length in LENGTHS]
        chosen = torch.log_softmax(logits.float(), -1)[[end - 1 for end in ends]]
        found[str(path.resolve())] = {"ids": ids, "ends": ends, "log_probabilities": chosen.tolist()}
    out.write_text(json.dumps(found))


def in_llama(given: Path) -> None:
    import xllamacpp

    for path, own in json.loads(given.read_text()).items():
        params = xllamacpp.CommonParams()
        params.model.path = path
        params.n_ctx, params.n_parallel, params.cpuparams.n_threads, params.warmup = 512, 1, 2, False
        server = xllamacpp.Server(params)
        ask = {"n_predict": 1, "temperature": 0.0, "cache_prompt": False, "ignore_eos": True}
        counted = server.handle_completions(ask | {"prompt": TEXT})["usage"]["prompt_tokens"]
        worst = total = count = same = 0
        for end, expected in zip(own["ends"], own["log_probabilities"]):
            ask_all = ask | {"prompt": own["ids"][:end], "n_probs": len(expected)}
            answer = server.handle_completions(ask_all)["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
            likely = [a for a in answer if a["logprob"] > LEAST]
            errors = [abs(a["logprob"] - expected[a["id"]]) for a in likely]
            worst, total, count = max(worst, *errors), total + sum(errors), count + len(errors)
            top = max((a for a in answer), key=lambda a: a["logprob"])
            same += top["id"] == max(range(len(expected)), key=expected.__getitem__)
        print(
            f"{Path(path).name}: tokens {counted} of {len(own['ids'])}, log-probabilities differ by at most {worst:.4f}, "
            f"{total / count:.4f} on average; likeliest token the same {same} of {len(own['ends'])} times",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Compares PyTorch and llama.cpp on the same tokens.")
    parser.add_argument("where", choices=["torch", "llama"])
    parser.add_argument("file", type=Path)
    parser.add_argument("models", type=Path, nargs="*")
    args = parser.parse_args()
    if args.where == "torch":
        in_torch(args.file, args.models)
    else:
        in_llama(args.file)


if __name__ == "__main__":
    main()

"""Small random models through the whole pipeline: cd training && ../.cache/train-venv/bin/python -m unittest"""

import argparse
import json
import tempfile
import unittest
from dataclasses import replace
from pathlib import Path

import torch
from tokenizers import pre_tokenizers

from isotherm_train import data, gguf_io, prune, toy
from isotherm_train.mla import Model
from isotherm_train.shape import Latent
from isotherm_train.tokenizer import CONTROL, NORMAL, Vocabulary
from isotherm_train.train import Run

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
MERGES = ["h e", "he l", "Ġ he", "Ġhe l"]
TOKENS = SPECIAL + BYTES + [m.replace(" ", "") for m in MERGES]


def small() -> gguf_io.Loaded:
    torch.manual_seed(3)
    shape = Latent(
        vocabulary=len(TOKENS), hidden=64, layers=3, heads=2, feed_forward=96, norm_eps=1e-5, context=2048,
        rope_base=300.0, rank=32, rope_dims=16, nope_dims=32, value_dims=32, latent_eps=1e4, stream_scale=64.0,
    )
    types = [CONTROL if t in SPECIAL else NORMAL for t in TOKENS]
    return gguf_io.Loaded(Model(shape), Vocabulary(TOKENS, types, MERGES), {})


def logits(loaded: gguf_io.Loaded) -> torch.Tensor:
    with torch.no_grad():
        return loaded.model(torch.tensor([[1, 30, 77, 41, 200, 9]]))


class Files(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def test_a_model_comes_back_as_it_was_written(self) -> None:
        loaded = small()
        before = logits(loaded)
        for kind, tolerance in (("f32", 1e-4), ("f16", 1e-2), ("q8_0", 1e-1)):
            gguf_io.write(self.folder / "model.gguf", loaded, kind)
            again = gguf_io.read(self.folder / "model.gguf")
            self.assertEqual(again.vocabulary, loaded.vocabulary)
            self.assertEqual(again.model.shape.rank, 32)
            error = (logits(again) - before).abs().max().item() / before.abs().max().item()
            self.assertLess(error, tolerance, kind)

    def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(self) -> None:
        gguf_io.write(self.folder / "start.gguf", small(), "f32")
        lines = [json.dumps({"prompt": "hello 12 ", "answer": f"{n} hel"}) for n in range(20)]
        (self.folder / "examples.jsonl").write_text("\n".join(lines))

        def run(name: str, minutes: float | None) -> Run:
            args = argparse.Namespace(
                start=self.folder / "start.gguf", examples=self.folder / "examples.jsonl", folder=self.folder / name,
                held_out=None, held_out_count=0, steps=9, minutes=minutes, batch=4, longest=64, rate=1e-2, warmup=2,
                decay=0.01, prompt_weight=0.0, choice_weight=2.0, seed=1, threads=1, log_every=1, check_every=100, checkpoint_minutes=0.0,
            )  # fmt: skip
            run = Run(args)
            run.run()
            return run

        whole = run("whole", None)
        # A budget of no time stops after each step: every step is a run of its own.
        for _ in range(9):
            parts = run("parts", 1e-9)
        self.assertEqual((whole.progress.step, parts.progress.step), (9, 9))
        for a, b in zip(whole.model.parameters(), parts.model.parameters()):
            self.assertTrue(torch.equal(a, b))
        losses = [json.loads(x)["loss"] for x in (self.folder / "whole/log.jsonl").read_text().splitlines()]
        self.assertLess(losses[-1], losses[0])
        self.assertTrue((self.folder / "parts/loss.svg").exists())


def plain(ids: list[int], prompt: int, choice: list[int] = []) -> data.Example:
    """Of one branch; all but the prompt is learned."""
    places = data.np.arange(len(ids))
    chosen = data.np.array(choice, dtype="int64")
    return data.Example(data.np.array(ids, dtype="int32"), places >= prompt, 1.0, chosen, 0 * places)


class Parts(unittest.TestCase):
    def test_padding_changes_nothing(self) -> None:
        loaded = small()
        short = plain([1, 30, 77, 41], 2)
        long = plain([1, 9, 9, 9, 50, 60, 70, 80], 7)
        alone = loaded.model.loss(*data.batch([short])).item()
        rest = loaded.model.loss(*data.batch([long])).item()
        both = loaded.model.loss(*data.batch([short, long])).item()
        self.assertAlmostEqual(both, (2 * alone + rest) / 3, places=5)

    def test_what_is_done_is_found_among_the_tokens_of_an_answer(self) -> None:
        answer = '{"assessment":"Order: few moves; x 8","setpoints":{"x":8.5},"rationale":"Hold x_y, holding."}'
        offsets = [(i, i + 1) for i in range(len(answer))]
        said = "".join(answer[i - 10] for i in data.chosen(answer, offsets, 10))
        self.assertEqual(said, '"Order: few moves;"setpoints":{"x":8.5}Hold x_y')
        self.assertEqual(data.chosen("nothing", offsets, 10).tolist(), [])
        example = plain(list(range(6)), 2, [3, 4])
        self.assertEqual(data.batch([example], 0.0, 4.0)[1].tolist(), [[0.0, 0.0, 1.0, 4.0, 4.0, 1.0]])

    def test_branches_are_learned_as_if_each_were_alone(self) -> None:
        loaded = small()
        tokenizer = loaded.vocabulary.tokenizer()
        branches = [("5", "60"), ("1 9", '{"assessment":"Order: hello;'), ("2", "1")]
        line = {"prompt": "12 3", "branches": [{"prompt": p, "answer": a} for p, a in branches]}
        found = data.example(line, tokenizer)
        self.assertTrue(len(found.choice) and found.learned[found.choice].all())
        together = loaded.model.loss(*data.batch([found])).item()

        before = tokenizer.encode("12 3").ids
        alone = []
        for prompt, answer in branches:
            prompt = before + tokenizer.encode(prompt).ids
            answer = tokenizer.encode(answer).ids
            loss = loaded.model.loss(*data.batch([plain(prompt + answer, len(prompt))])).item()
            alone.append((loss * len(answer), len(answer)))
        self.assertAlmostEqual(together, sum(a for a, _ in alone) / sum(n for _, n in alone), places=5)

    def test_the_future_is_not_seen(self) -> None:
        loaded = small()
        with torch.no_grad():
            one = loaded.model(torch.tensor([[1, 30, 77, 41]]))[0, :3]
            other = loaded.model(torch.tensor([[1, 30, 77, 5]]))[0, :3]
        self.assertTrue(torch.allclose(one, other, atol=1e-5))

    def test_every_example_comes_once_in_an_epoch_and_the_seed_decides_when(self) -> None:
        examples = [plain([0] * (n % 7 + 2), 1) for n in range(50)]
        first = data.order(examples, 4, 1, 0)
        self.assertEqual(sorted(i for b in first for i in b), list(range(50)))
        self.assertEqual(first, data.order(examples, 4, 1, 0))
        self.assertNotEqual(first, data.order(examples, 4, 1, 1))

    def test_fewer_tokens_are_still_a_tokenizer(self) -> None:
        loaded = small()
        fewer = prune.vocabulary(loaded, len(TOKENS) - 2)
        self.assertEqual(fewer.vocabulary.merges, MERGES[:2])
        self.assertEqual(fewer.vocabulary.tokenizer().encode("hel").tokens, ["hel"])
        self.assertEqual(fewer.vocabulary.tokenizer().encode(" 12<|im_end|>").tokens, ["Ġ", "1", "2", "<|im_end|>"])
        self.assertTrue(torch.allclose(logits(fewer), logits(loaded)[..., :-2]))

    def test_layers_are_kept_in_the_order_asked_for(self) -> None:
        loaded = small()
        kept = prune.layers(loaded, [0, 2])
        self.assertTrue(torch.equal(kept.model.blocks[1].up.weight, loaded.model.blocks[2].up.weight))
        self.assertEqual(replace(kept.model.shape, layers=3), loaded.model.shape)

    def test_the_small_task_is_true(self) -> None:
        dice = toy.random.Random(5)
        for _ in range(50):
            e = toy.example(dice)
            shown = json.loads(e["answer"])["evidence"][0]
            self.assertRegex(e["prompt"], rf"\n{shown['signal']} {float(shown['value']):.1f} {shown['trend']}\n")


if __name__ == "__main__":
    unittest.main()

"""The tokenizer of a GGUF file (byte-level pairs, every digit a token of its own) in Python."""

from dataclasses import dataclass, replace

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

NORMAL, CONTROL = 1, 3


@dataclass(frozen=True)
class Vocabulary:
    """As GGUF keeps it. Tokens of a byte-pair vocabulary come in the order of their merges."""

    tokens: list[str]
    types: list[int]
    merges: list[str]

    def first(self, count: int) -> "Vocabulary":
        """The first `count` tokens, and the merges that need no others."""
        tokens = self.tokens[:count]
        kept = set(tokens)
        merges = [m for m in self.merges if m.replace(" ", "") in kept and set(m.split(" ")) <= kept]
        return replace(self, tokens=tokens, types=self.types[:count], merges=merges)

    def tokenizer(self) -> Tokenizer:
        ids = {token: i for i, token in enumerate(self.tokens)}
        merges = [tuple(m.split(" ")) for m in self.merges]
        tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges))
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
        tokenizer.decoder = decoders.ByteLevel()
        special = [t for t, kind in zip(self.tokens, self.types) if kind == CONTROL]
        tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
        return tokenizer


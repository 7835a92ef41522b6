"""The student as llama.cpp's dense `deepseek2` computes it, and the grouped-query original it comes from.

Sequences are padded on the right. Attention is causal, so no token sees the padding behind it, and the loss
skips it. A sequence may go on in several branches, none of which sees another.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .shape import Grouped, Latent, Shape


def half_precision() -> torch.autocast:
    """bf16, where the processor computes with it; elsewhere it would be several times slower than f32."""
    has = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return torch.autocast("cpu", torch.bfloat16, enabled=has)


class RmsNorm(nn.Module):
    def __init__(self, size: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight


@dataclass(frozen=True)
class Sight:
    """What each token sees, and where it stands: after as many as it sees."""

    places: Tensor
    # For each sequence how long its parts are: what all branches have before them, then each of them. None
    # without branches.
    parts: list[list[int]] | None

    @staticmethod
    def of(tokens: Tensor, branches: Tensor | None) -> "Sight":
        """branches: batch, tokens; 0 for what all branches have before them, and for padding."""
        places = torch.arange(tokens.shape[1])
        if branches is None or not branches.any():
            return Sight(places, None)
        parts = [torch.unique_consecutive(row, return_counts=True)[1].tolist() for row in branches]
        rows = [[torch.arange(shared)] + [torch.arange(shared, shared + n) for n in own] for shared, *own in parts]
        return Sight(torch.stack([torch.cat(row) for row in rows]), parts)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if self.parts is None:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return torch.stack([attend_apart(*row) for row in zip(q, k, v, self.parts)])


def attend_apart(q: Tensor, k: Tensor, v: Tensor, parts: list[int]) -> Tensor:
    """q, k, v: heads, tokens, dims. A mask over all branches together would be five times the work, and the fused
    attention of each branch alone takes as long to go back through as all the rest of a layer."""
    shared, *own = parts
    (q, rest_q), (k, rest_k), (v, rest_v) = (x.split((shared, sum(own)), 1) for x in (q, k, v))
    scale = q.shape[-1] ** -0.5
    far = rest_q @ k.transpose(1, 2) * scale
    far_shares, near_values = [], []
    for scores, *its in zip(*(x.split(own, 1) for x in (far, rest_q, rest_k, rest_v))):
        its_q, its_k, its_v = its
        later = torch.ones(its_q.shape[1], its_q.shape[1], dtype=torch.bool).triu(1)
        near = (its_q @ its_k.transpose(1, 2) * scale).masked_fill(later, -math.inf)
        shares = torch.cat((scores, near), -1).float().softmax(-1).to(its_v.dtype)
        far_shares.append(shares[..., :shared])
        near_values.append(shares[..., shared:] @ its_v)
    of_rest = torch.cat(far_shares, 1) @ v + torch.cat(near_values, 1)
    return torch.cat((F.scaled_dot_product_attention(q, k, v, is_causal=True), of_rest), 1)


class Rope(nn.Module):
    """Turns neighbouring pairs: pair i of a token at position p by p * base^(-2i/dims)."""

    def __init__(self, dims: int, base: float, context: int):
        super().__init__()
        angle = torch.outer(torch.arange(context).double(), base ** (-torch.arange(0, dims, 2).double() / dims))
        self.register_buffer("cos", angle.cos().float(), persistent=False)
        self.register_buffer("sin", angle.sin().float(), persistent=False)

    def forward(self, x: Tensor, places: Tensor) -> Tensor:
        """x: batch, heads, tokens, dims. Computed in f32: half precision would blur positions."""
        cos, sin = self.cos[places], self.sin[places]
        if places.ndim > 1:
            cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
        even, odd = x[..., 0::2].float(), x[..., 1::2].float()
        return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2).to(x.dtype)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """batch, tokens, heads * dims -> batch, heads, tokens, dims."""
    batch, tokens, size = x.shape
    return x.view(batch, tokens, heads, size // heads).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)


def linear(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.normal_(layer.weight, std=1 / math.sqrt(inputs))
    return layer


class GroupedAttention(nn.Module):
    def __init__(self, shape: Grouped, rope: Rope):
        super().__init__()
        self.heads, self.kv_heads, self.rope = shape.heads, shape.kv_heads, rope
        self.q = linear(shape.hidden, shape.heads * shape.head_dims)
        self.k = linear(shape.hidden, shape.kv_heads * shape.head_dims)
        self.v = linear(shape.hidden, shape.kv_heads * shape.head_dims)
        self.output = linear(shape.heads * shape.head_dims, shape.hidden)

    def forward(self, x: Tensor, sight: Sight) -> Tensor:
        q = self.rope(split_heads(self.q(x), self.heads), sight.places)
        k = self.rope(split_heads(self.k(x), self.kv_heads), sight.places)
        v = split_heads(self.v(x), self.kv_heads)
        group = self.heads // self.kv_heads
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        return self.output(join_heads(sight.attend(q, k, v)))


class LatentAttention(nn.Module):
    """Every head's keys and values are made from one latent; position is in one rotary key for all heads."""

    def __init__(self, shape: Latent, rope: Rope):
        super().__init__()
        self.shape, self.rope = shape, rope
        heads, rank = shape.heads, shape.rank
        self.q = linear(shape.hidden, heads * (shape.nope_dims + shape.rope_dims))
        self.kv_a = linear(shape.hidden, rank + shape.rope_dims)
        self.k_b = nn.Parameter(torch.randn(heads * shape.nope_dims, rank) / math.sqrt(rank))
        self.v_b = nn.Parameter(torch.randn(heads * shape.value_dims, rank) / math.sqrt(rank))
        self.output = linear(heads * shape.value_dims, shape.hidden)

    def latent(self, compressed: Tensor) -> Tensor:
        eps = self.shape.latent_eps
        power = compressed.float().square().mean(-1, keepdim=True)
        return (compressed * torch.rsqrt(power / eps + 1.0)).to(compressed.dtype)

    def forward(self, x: Tensor, sight: Sight) -> Tensor:
        s = self.shape
        q_nope, q_rope = split_heads(self.q(x), s.heads).split((s.nope_dims, s.rope_dims), -1)
        compressed, k_rope = self.kv_a(x).split((s.rank, s.rope_dims), -1)
        latent = self.latent(compressed)
        k_nope = split_heads(F.linear(latent, self.k_b), s.heads)
        v = split_heads(F.linear(latent, self.v_b), s.heads)
        k_rope = self.rope(k_rope.unsqueeze(1), sight.places).expand(-1, s.heads, -1, -1)
        q = torch.cat((q_nope, self.rope(q_rope, sight.places)), -1)
        k = torch.cat((k_nope, k_rope), -1)
        return self.output(join_heads(sight.attend(q, k, v)))


class Block(nn.Module):
    def __init__(self, shape: Shape, attention: nn.Module):
        super().__init__()
        self.attn_norm = RmsNorm(shape.hidden, shape.norm_eps)
        self.attention = attention
        self.ffn_norm = RmsNorm(shape.hidden, shape.norm_eps)
        self.gate = linear(shape.hidden, shape.feed_forward)
        self.up = linear(shape.hidden, shape.feed_forward)
        self.down = linear(shape.feed_forward, shape.hidden)

    def feed_forward(self, x: Tensor) -> Tensor:
        x = self.ffn_norm(x)
        return self.down(F.silu(self.gate(x)) * self.up(x))

    def forward(self, x: Tensor, sight: Sight) -> Tensor:
        x = x + self.attention(self.attn_norm(x), sight)
        return x + self.feed_forward(x)


class Model(nn.Module):
    """Output weights are the embedding's."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.hidden)
        if isinstance(shape, Latent):
            rope = Rope(shape.rope_dims, shape.rope_base, shape.context)
            attention = [LatentAttention(shape, rope) for _ in range(shape.layers)]
        elif isinstance(shape, Grouped):
            rope = Rope(shape.head_dims, shape.rope_base, shape.context)
            attention = [GroupedAttention(shape, rope) for _ in range(shape.layers)]
        else:
            raise TypeError(f"no attention for {shape}")
        self.blocks = nn.ModuleList(Block(shape, a) for a in attention)
        self.norm = RmsNorm(shape.hidden, shape.norm_eps)

    def hidden(self, tokens: Tensor, branches: Tensor | None = None) -> Tensor:
        """batch, tokens -> the last layer's output, normed."""
        sight = Sight.of(tokens, branches)
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, sight)
        return self.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        return F.linear(hidden, self.embedding.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.logits(self.hidden(tokens))

    def loss(self, tokens: Tensor, weights: Tensor, branches: Tensor | None = None) -> Tensor:
        """Cross-entropy per unit of weight. `weights[b, t]` is what predicting `tokens[b, t]` counts: 0 for the
        prompt and the padding, for which no logits are made."""
        wanted = weights[:, 1:] > 0
        seen = branches[:, :-1] if branches is not None else None
        logits = self.logits(self.hidden(tokens[:, :-1], seen)[wanted])
        losses = F.cross_entropy(logits.float(), tokens[:, 1:][wanted], reduction="none")
        chosen = weights[:, 1:][wanted]
        return (losses * chosen).sum() / chosen.sum()

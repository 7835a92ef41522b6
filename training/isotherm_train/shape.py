"""The sizes of a model, and how its attention remembers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """Sizes that grouped and latent attention share."""

    vocabulary: int
    hidden: int
    layers: int
    heads: int
    feed_forward: int
    norm_eps: float
    context: int
    rope_base: float


@dataclass(frozen=True)
class Grouped(Shape):
    """As `llama` files: heads in groups share keys and values."""

    kv_heads: int
    head_dims: int


@dataclass(frozen=True)
class Latent(Shape):
    """As dense `deepseek2` files: all heads share one latent and one rotary key."""

    rank: int
    rope_dims: int
    nope_dims: int
    value_dims: int
    # The latent's RMS norm adds this to its mean square. Far above that, the norm divides by a constant:
    # keys and values keep their own scale, as in the model that was converted.
    latent_eps: float
    # Files hold one epsilon for all norms, so the residual stream is written this many times larger.
    stream_scale: float

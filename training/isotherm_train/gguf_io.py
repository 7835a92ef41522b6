"""GGUF files in and out: `llama` (grouped) and dense `deepseek2` (latent)."""

import os
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Kind
from torch import Tensor

from .mla import Model
from .shape import Grouped, Latent, Shape
from .tokenizer import Vocabulary

# Model weights under these names in a block, and under these in a file.
BLOCK = {
    "attn_norm.weight": "attn_norm",
    "attention.q.weight": "attn_q",
    "attention.output.weight": "attn_output",
    "ffn_norm.weight": "ffn_norm",
    "gate.weight": "ffn_gate",
    "up.weight": "ffn_up",
    "down.weight": "ffn_down",
}
GROUPED_BLOCK = BLOCK | {"attention.k.weight": "attn_k", "attention.v.weight": "attn_v"}
LATENT_BLOCK = BLOCK | {
    "attention.kv_a.weight": "attn_kv_a_mqa",
    "attention.k_b": "attn_k_b",
    "attention.v_b": "attn_v_b",
}
# What writes into the residual stream.
INTO_STREAM = ("embedding.weight", "attention.output.weight", "down.weight")


@dataclass
class Loaded:
    model: Model
    vocabulary: Vocabulary
    # Metadata that goes into files made from this one: name, licence, special tokens, chat template.
    about: dict[str, tuple[gguf.GGUFValueType, object]]


def read(path: Path) -> Loaded:
    """The model in a file, in f32."""
    file = gguf.GGUFReader(path)

    def value(key: str):
        field = file.fields.get(key)
        if field is None:
            raise ValueError(f"{path}: the metadata has no {key!r}")
        return field.contents()

    architecture = value("general.architecture")
    vocabulary = Vocabulary(
        tokens=value("tokenizer.ggml.tokens"),
        types=value("tokenizer.ggml.token_type"),
        merges=value("tokenizer.ggml.merges"),
    )
    a = architecture
    common = dict(
        vocabulary=len(vocabulary.tokens),
        hidden=value(f"{a}.embedding_length"),
        layers=value(f"{a}.block_count"),
        heads=value(f"{a}.attention.head_count"),
        feed_forward=value(f"{a}.feed_forward_length"),
        norm_eps=value(f"{a}.attention.layer_norm_rms_epsilon"),
        context=value(f"{a}.context_length"),
        rope_base=value(f"{a}.rope.freq_base"),
    )
    if architecture == "llama":
        shape: Shape = Grouped(
            **common,
            kv_heads=value("llama.attention.head_count_kv"),
            head_dims=value("llama.rope.dimension_count"),
        )
    elif architecture == "deepseek2":
        shape = latent_shape(common, value)
    else:
        raise ValueError(f"{path}: expected architecture llama or deepseek2, found {architecture}")

    tensors = {t.name: t for t in file.tensors}

    def weights(name: str) -> Tensor:
        tensor = tensors[f"{name}.weight"]
        return torch.from_numpy(np.array(gguf.quants.dequantize(tensor.data, tensor.tensor_type), dtype=np.float32))

    model = Model(shape)
    state = {"embedding.weight": weights("token_embd"), "norm.weight": weights("output_norm")}
    names = LATENT_BLOCK if isinstance(shape, Latent) else GROUPED_BLOCK
    for layer in range(shape.layers):
        for ours, theirs in names.items():
            state[f"blocks.{layer}.{ours}"] = weights(f"blk.{layer}.{theirs}")
        if isinstance(shape, Latent):
            join_latent(state, f"blocks.{layer}.attention.", weights(f"blk.{layer}.attn_kv_a_norm"), shape)
    if isinstance(shape, Latent):
        for name, tensor in state.items():
            if name.endswith(INTO_STREAM):
                tensor /= shape.stream_scale
        state["norm.weight"] *= shape.stream_scale
    model.load_state_dict(state)
    prefixes = ("general.", "tokenizer.", "isotherm.")
    own = {"general.architecture", "general.file_type", "tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.ggml.merges"}
    about = {
        key: (field.types[0] if len(field.types) == 1 else field.types, field.contents())
        for key, field in file.fields.items()
        if key.startswith(prefixes) and key not in own
    }
    return Loaded(model, vocabulary, about)


def latent_shape(common: dict, value) -> Latent:
    rope_dims = value("deepseek2.rope.dimension_count")
    stream_scale = value("isotherm.mla.stream_scale")
    common["norm_eps"] /= stream_scale**2
    return Latent(
        **common,
        rank=value("deepseek2.attention.kv_lora_rank"),
        rope_dims=rope_dims,
        nope_dims=value("deepseek2.attention.key_length_mla") - rope_dims,
        value_dims=value("deepseek2.attention.value_length_mla"),
        latent_eps=value("isotherm.mla.latent_eps"),
        stream_scale=stream_scale,
    )


def latent_gain(shape: Latent) -> float:
    """Rows of `kv_a` are divided by this in a file, where the norm's weight multiplies with it: next to the
    one epsilon that files have, the latent is then as small as next to `latent_eps` in the model."""
    return (shape.latent_eps / shape.norm_eps) ** 0.5 / shape.stream_scale


def split_latent(state: dict[str, Tensor], prefix: str, shape: Latent) -> Tensor:
    """From the model's latent weights to a file's; gives the weight of the latent's norm."""
    kv_a = state[f"{prefix}kv_a.weight"].clone()
    kv_a[: shape.rank] /= latent_gain(shape)
    state[f"{prefix}kv_a.weight"] = kv_a
    keys = state[f"{prefix}k_b"].view(shape.heads, shape.nope_dims, shape.rank)
    state[f"{prefix}k_b"] = keys.transpose(1, 2).contiguous()
    state[f"{prefix}v_b"] = state[f"{prefix}v_b"].view(shape.heads, shape.value_dims, shape.rank)
    return torch.full((shape.rank,), shape.latent_eps**0.5)


def join_latent(state: dict[str, Tensor], prefix: str, norm: Tensor, shape: Latent) -> None:
    """The reverse of `split_latent`. A norm's weight of its own goes into what reads the latent."""
    state[f"{prefix}kv_a.weight"][: shape.rank] *= latent_gain(shape)
    gain = norm / shape.latent_eps**0.5
    state[f"{prefix}k_b"] = state[f"{prefix}k_b"].transpose(1, 2).flatten(0, 1) * gain
    state[f"{prefix}v_b"] = state[f"{prefix}v_b"].flatten(0, 1) * gain


def write(path: Path, loaded: Loaded, kind: str = "q8_0") -> None:
    """Writes a latent model. `kind`: f32, f16, q8_0 or q4_0 for what matrices are stored as; the embedding of
    q4_0 files stays q8_0, because the output is read from it too."""
    shape = loaded.model.shape
    if not isinstance(shape, Latent):
        raise TypeError("only latent models are written")
    matrix = Kind[kind.upper()]
    partial = Path(f"{path}.partial")
    out = gguf.GGUFWriter(partial, "deepseek2")
    for key, (types, value) in loaded.about.items():
        if isinstance(types, list):
            out.add_key_value(key, value, types[0], sub_type=types[1])
        else:
            out.add_key_value(key, value, types)
    number = lambda key, value: out.add_uint32(f"deepseek2.{key}", value)
    number("block_count", shape.layers)
    number("context_length", shape.context)
    number("embedding_length", shape.hidden)
    number("feed_forward_length", shape.feed_forward)
    number("vocab_size", shape.vocabulary)
    number("leading_dense_block_count", shape.layers)
    for absent in ("expert_feed_forward_length", "expert_shared_count", "expert_count", "expert_used_count"):
        number(absent, 0)
    number("attention.head_count", shape.heads)
    number("attention.head_count_kv", 1)
    number("attention.q_lora_rank", 0)
    number("attention.kv_lora_rank", shape.rank)
    number("attention.key_length", shape.rank + shape.rope_dims)
    number("attention.value_length", shape.rank)
    number("attention.key_length_mla", shape.nope_dims + shape.rope_dims)
    number("attention.value_length_mla", shape.value_dims)
    number("rope.dimension_count", shape.rope_dims)
    out.add_float32("deepseek2.rope.freq_base", shape.rope_base)
    out.add_float32("deepseek2.attention.layer_norm_rms_epsilon", shape.norm_eps * shape.stream_scale**2)
    set_float(out, loaded, "isotherm.mla.latent_eps", shape.latent_eps)
    set_float(out, loaded, "isotherm.mla.stream_scale", shape.stream_scale)
    out.add_file_type(getattr(gguf.LlamaFileType, "ALL_F32" if kind == "f32" else f"MOSTLY_{kind.upper()}"))
    out.add_token_list(loaded.vocabulary.tokens)
    out.add_token_types(loaded.vocabulary.types)
    out.add_token_merges(loaded.vocabulary.merges)

    state = {name: tensor.detach().float() for name, tensor in loaded.model.state_dict().items()}
    for name, tensor in state.items():
        if name.endswith(INTO_STREAM):
            state[name] = tensor * shape.stream_scale
    state["norm.weight"] = state["norm.weight"] / shape.stream_scale

    def add(name: str, tensor: Tensor, kind: Kind) -> None:
        values = tensor.contiguous().numpy()
        # One matrix per head is multiplied with what does not lie in order. For a CPU's matrix unit (AMX),
        # llama.cpp packs such a matrix of any smaller number format and then cannot use it: f32 it leaves alone.
        if values.ndim in (1, 3):
            kind = Kind.F32
        elif values.shape[-1] % 32 and kind not in (Kind.F32, Kind.F16):
            kind = Kind.F16
        out.add_tensor(f"{name}.weight", gguf.quants.quantize(values, kind), raw_dtype=kind)

    add("token_embd", state["embedding.weight"], Kind.Q8_0 if matrix == Kind.Q4_0 else matrix)
    add("output_norm", state["norm.weight"], matrix)
    for layer in range(shape.layers):
        prefix = f"blocks.{layer}."
        norm = split_latent(state, f"{prefix}attention.", shape)
        add(f"blk.{layer}.attn_kv_a_norm", norm, matrix)
        for ours, theirs in LATENT_BLOCK.items():
            add(f"blk.{layer}.{theirs}", state[f"{prefix}{ours}"], matrix)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    os.replace(partial, path)


def set_float(out: gguf.GGUFWriter, loaded: Loaded, key: str, value: float) -> None:
    if key not in loaded.about:
        out.add_float32(key, value)

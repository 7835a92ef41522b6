"""Grouped to latent attention by decomposition."""

import numpy as np
import torch
from torch import Tensor

from .mla import Model
from .shape import Grouped, Latent

LATENT_EPS = 1e4
STREAM_SCALE = 1024.0


def to_latent(model: Model, rank: int, rope_dims: int) -> Model:
    g = model.shape
    assert isinstance(g, Grouped)
    first_nope = min(rope_dims, g.head_dims // 2)
    nope = g.head_dims - first_nope
    shape = Latent(
        g.vocabulary, g.hidden, g.layers, g.heads, g.feed_forward, g.norm_eps, g.context,
        g.rope_base ** (rope_dims / g.head_dims), rank, rope_dims, nope, g.head_dims, LATENT_EPS, STREAM_SCALE,
    )
    out = Model(shape)
    state = dict(model.state_dict())
    for layer in range(g.layers):
        p = f"blocks.{layer}.attention."
        q, k, v = (state.pop(f"{p}{n}.weight").double().numpy() for n in "qkv")
        gain = state[f"blocks.{layer}.attn_norm.weight"].double().numpy()
        d, pairs = g.head_dims, rope_dims // 2
        q = q.reshape(g.heads, d, -1)
        k = k.reshape(g.kv_heads, d, -1)
        kc = k[:, 0::2] + 1j * k[:, 1::2]
        qc = q[:, 0::2] + 1j * q[:, 1::2]
        rope_rows, q_rope = [], []
        left = kc.copy()
        for i in range(pairs):
            u, _, _ = np.linalg.svd(kc[:, i] * gain, full_matrices=False)
            a = u[:, 0]
            z = a.conj() @ kc[:, i]
            left[:, i] -= a[:, None] * z
            rope_rows += [z.real, z.imag]
            q_rope.append(a.conj().repeat(g.heads // g.kv_heads)[:, None] * qc[:, i])
        kn = np.stack((left.real, left.imag), 2).reshape(g.kv_heads, d, -1)[:, first_nope:]
        qn = q[:, first_nope:]
        wk, wv = 1 / np.linalg.norm(kn * gain), 1 / np.linalg.norm(v * gain)
        joint = np.concatenate((kn.reshape(g.kv_heads * nope, -1) * wk, v * wv))
        u, s, _ = np.linalg.svd(joint * gain, full_matrices=False)
        u, s = u[:, :rank], s[:rank]
        a = (u.T @ joint) / s[:, None]
        b = u * s
        kb = (b[: g.kv_heads * nope] / wk).reshape(g.kv_heads, nope, rank)
        vb = (b[g.kv_heads * nope :] / wv).reshape(g.kv_heads, d, rank)
        group = g.heads // g.kv_heads
        qr = np.stack([np.stack((x.real, x.imag), 1) for x in q_rope], 1).reshape(g.heads, rope_dims, -1)
        scale = ((nope + rope_dims) / d) ** 0.5
        t = lambda x: torch.from_numpy(np.ascontiguousarray(x)).float()
        state[f"{p}q.weight"] = t(np.concatenate((qn, qr), 1).reshape(-1, g.hidden) * scale)
        state[f"{p}kv_a.weight"] = t(np.concatenate((a, np.stack(rope_rows))))
        state[f"{p}k_b"] = t(kb.repeat(group, 0).reshape(-1, rank))
        state[f"{p}v_b"] = t(vb.repeat(group, 0).reshape(-1, rank))
    out.load_state_dict(state)
    return out

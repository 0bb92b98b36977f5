"""Float64 pieces that every oracle is made of."""

import numpy as np


def rms_norm(x, weight, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


def layer_norm(x, weight, bias, eps):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * weight + bias


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def rope(x, theta=10000.0, frequencies=None, pairs=False):
    """Rotates x [tokens, dim]: pairs (i, i + dim/2), or (2i, 2i + 1)."""
    tokens, dim = x.shape
    if frequencies is None:
        frequencies = theta ** (-np.arange(0, dim, 2) / dim)
    angle = np.arange(tokens)[:, None] * np.asarray(frequencies)
    cos, sin = np.cos(angle), np.sin(angle)
    a, b = (x[:, 0::2], x[:, 1::2]) if pairs else (x[:, :dim // 2], x[:, dim // 2:])
    turned = np.empty_like(x)
    first, second = (slice(0, None, 2), slice(1, None, 2)) if pairs else (
        slice(0, dim // 2), slice(dim // 2, None))
    turned[:, first] = a * cos - b * sin
    turned[:, second] = b * cos + a * sin
    return turned


def attend(q, k, v, scale, visible=None):
    """One head's causal attention: q, k [tokens, d], v [tokens, dv]."""
    tokens = len(q)
    if visible is None:
        visible = np.tril(np.ones((tokens, tokens), bool))
    scores = np.where(visible, scale * (q @ k.T), -np.inf)
    return softmax(scores) @ v


def heads_of(x, count):
    """[tokens, count * d] -> [count, tokens, d]."""
    return x.reshape(len(x), count, -1).transpose(1, 0, 2)


def joined(heads):
    """[count][tokens, d] -> [tokens, count * d]."""
    return np.concatenate(list(heads), 1)

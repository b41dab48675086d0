"""Rotary positions of a prompt: one number a token of text, three for the parts of an image.

Qwen-VL (M-RoPE): a token of text stands at the same place along time, height and width. The tokens
of an image share its start in time and spread over rows and columns; the next token of text follows
after the longer side.

Shape legend: L = tokens of the prompt
"""

from collections.abc import Sequence

import numpy as np

Grid = tuple[int, int, int]


def rotary_positions(num_tokens: int, *, images: Sequence[tuple[int, Grid]] = ()) -> np.ndarray:
    """Return [3, L] positions along time, height and width.

    Args:
        num_tokens: length of the prompt, images included.
        images: of each image, in order, the index of its first token, and its tokens along time,
            height and width.
    """
    parts = []
    index = position = 0
    for start, shape in images:
        parts.append(_text(position, start - index))
        position += start - index
        parts.append(np.indices(shape).reshape(3, -1) + position)
        index = start + parts[-1].shape[1]
        position += max(shape[1:])
    return np.concatenate([*parts, _text(position, num_tokens - index)], axis=1)


def _text(position: int, num_tokens: int) -> np.ndarray:
    return np.broadcast_to(np.arange(position, position + num_tokens), (3, num_tokens))

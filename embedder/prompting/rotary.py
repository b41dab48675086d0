"""Rotary positions of a prompt: one number a token for words, three for the parts of an image.

Qwen-VL (M-RoPE): a word stands at the same place along time, height and width. The tokens of a
image share its start in time and spread over rows and columns; the next word follows after the
longer side.

Shape legend: L = tokens of the prompt, T = tokens of the image
"""

import numpy as np

Grid = tuple[int, int, int]


def rotary_positions(num_tokens: int, *, image_start: int, image_shape: Grid | None) -> np.ndarray:
    """[3, L] positions along time, height and width.

    Args:
        num_tokens: length of the prompt, image included.
        image_start: index of the image's first token; of no meaning without an image.
        image_shape: tokens of the image along time, height and width.
    """
    if image_shape is None:
        return np.broadcast_to(np.arange(num_tokens), (3, num_tokens))
    image_3T = np.indices(image_shape).reshape(3, -1) + image_start
    after = image_start + max(image_shape[1:])
    num_after = num_tokens - image_start - image_3T.shape[1]
    return np.concatenate(
        [
            np.broadcast_to(np.arange(image_start), (3, image_start)),
            image_3T,
            np.broadcast_to(np.arange(after, after + num_after), (3, num_after)),
        ],
        axis=1,
    )

"""Rotary positions of a prompt: one number a token for words, three for the parts of a picture.

Qwen-VL (M-RoPE): a word stands at the same place along time, height and width. The tokens of a
picture share its start in time and spread over rows and columns; the next word follows after the
longer side.

Shape legend: L = tokens of the prompt, T = tokens of the picture
"""

import numpy as np

Grid = tuple[int, int, int]


def rotary_positions(
    num_tokens: int, *, picture_start: int, picture_shape: Grid | None
) -> np.ndarray:
    """[3, L] positions along time, height and width.

    Args:
        num_tokens: length of the prompt, picture included.
        picture_start: index of the picture's first token; of no meaning without a picture.
        picture_shape: tokens of the picture along time, height and width.
    """
    if picture_shape is None:
        return np.broadcast_to(np.arange(num_tokens), (3, num_tokens))
    picture_3T = np.indices(picture_shape).reshape(3, -1) + picture_start
    after = picture_start + max(picture_shape[1:])
    num_after = num_tokens - picture_start - picture_3T.shape[1]
    return np.concatenate(
        [
            np.broadcast_to(np.arange(picture_start), (3, picture_start)),
            picture_3T,
            np.broadcast_to(np.arange(after, after + num_after), (3, num_after)),
        ],
        axis=1,
    )

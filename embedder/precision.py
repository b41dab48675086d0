"""Which numbers a model's weights are, and so which version its vectors are of.

Vectors of the two differ by some 4e-3, far more than the 1e-5 within which a version's agree, so
weights of any but float32 are part of its id (`embedder.version`).
"""

from typing import Literal

Dtype = Literal["float32", "bfloat16"]
"""What weights and states are; sums, norms and vectors are float32 in any case."""

AskedDtype = Literal["auto", "float32", "bfloat16"]
"""`auto`: what suits the device."""


def dtype_on(device: str, asked: AskedDtype = "auto") -> Dtype:
    """Return what a model is loaded as: on a CPU float32, elsewhere bfloat16, unless asked.

    >>> dtype_on("cpu"), dtype_on("cuda:1"), dtype_on("cuda", "float32")
    ('float32', 'bfloat16', 'float32')
    """
    if asked != "auto":
        return asked
    return "float32" if device.partition(":")[0] == "cpu" else "bfloat16"

"""Does a model version still make the vectors that it made when it was first used?

Its id says which files it is made of, not what the packages that read them do: another release may
resize images with another filter, or read a state in another place, and the vectors of one
version would no longer be comparable. So what the version makes of a few fixed contents is kept and
looked at again. Contents are embedded directly, as the gate's threshold decides about the rest.

Shape legend: D = embedding dimension
"""

import io
from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
from PIL import Image

from embedder.content import CatalogueEncoder, Content

MIN_COSINE = 0.9995
"""Of a golden vector and what is made anew. Measured with nano: bfloat16 in place of float32 leaves
.99996, LANCZOS in place of BICUBIC .9985 of an image, one lost norm far less."""

TEXT = 'A red enamel mug with 3 white dots, 350 ml. "Dishwasher-safe" & light: 12,50 €'


def golden_vectors(encoder: CatalogueEncoder) -> dict[str, np.ndarray]:
    """Return [D] what an encoder makes of the golden contents that it can read, by their names."""
    items = {
        "item text": Content(TEXT, None),
        "item image": Content("", _image()),
        "item text and image": Content("a striped scarf", _image()),
    }
    queries = {"query text": Content("red mugs under 15 €", None)}
    return {
        **_direct(encoder.encode_items, items, encoder),
        **_direct(encoder.encode_query, queries, encoder),
    }


def departures(
    golden: Mapping[str, np.ndarray], made: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """Return the cosines that are below `MIN_COSINE`, by content; 0 where there is no equal.

    >>> departures({"item text": np.array([1.0, 0.0])}, {"item text": np.array([0.6, 0.8])})
    {'item text': 0.6}
    """
    cosines = {name: _cosine(golden[name], made.get(name)) for name in sorted(golden)}
    return {name: cosine for name, cosine in cosines.items() if not cosine >= MIN_COSINE}


def _direct(
    encode: Callable[..., list], contents: Mapping[str, Content], encoder: CatalogueEncoder
) -> dict[str, np.ndarray]:
    read = {name: content for name, content in contents.items() if not encoder.refusal(content)}
    encodings = encode(list(read.values()), policy="never")
    return {name: encoding.vector for name, encoding in zip(read, encodings, strict=True)}


def _cosine(one: np.ndarray, other: np.ndarray | None) -> float:
    if other is None or one.shape != other.shape:
        return 0.0
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


@cache
def _image() -> bytes:
    """Return a PNG that every way of resizing shows differently: waves that become ever finer."""
    rows, columns = np.mgrid[0:480, 0:640].astype(float)
    red, green = (np.sin(2 * np.pi * place**2 / 5_000) for place in (columns, rows))
    blue = np.where((rows // 16 + columns // 16) % 2, 1.0, -1.0)
    pixels = np.rint(127.5 + 127.5 * np.stack([red, green, blue], axis=2)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()

"""Codebooks as a file: safetensors, told apart by an id of what it holds, and read as untrusted.

A file that was cut, edited or put in another's place is refused with what is wrong with it; nothing
in it is executed.
"""

import json
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from catalog.atomic_file import write_atomically
from embedder.codes.codebooks import Codebooks, Described, Layer
from embedder.codes.config import CodesConfig

FORMAT = "ponder codes 1"
NAME = "codebooks.safetensors"


def save_codebooks(codebooks: Codebooks, folder: Path) -> Path:
    """Write codebooks below a folder, into one named by their id; return the file's path."""
    about = {
        "format": FORMAT,
        "model_version": codebooks.model_version,
        "config": json.dumps(asdict(codebooks.of.config)),
    }
    tensors = {name: np.ascontiguousarray(a) for name, a in codebooks.tensors().items()}
    path = folder / codebooks.id / NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, save(tensors, metadata=about))
    return path


def load_codebooks(folder: Path, codes_id: str, *, model_version: str) -> Codebooks:
    """Read what `save_codebooks` wrote.

    Args:
        folder: that the codebooks of a version are below.
        codes_id: of the codebooks.
        model_version: whose vectors are to be coded.

    Raises:
        ValueError: the file is lost, broken, of another version, or holds other numbers.
    """
    path = folder / codes_id / NAME
    try:
        codebooks = _read(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise ValueError(
            f"{path} must be codebooks that `ponder codes learn` wrote: {error}; learn them again"
        ) from error
    if codebooks.model_version != model_version:
        raise ValueError(
            f"{path} codes vectors of {codebooks.model_version!r}, not of {model_version!r}; learn "
            "codes of this version with `ponder codes learn`"
        )
    if codebooks.id != codes_id:
        raise ValueError(
            f"{path} must hold the codebooks {codes_id!r}, got {codebooks.id!r}: it was edited or "
            "put in another's place; learn them again"
        )
    return codebooks


def _read(path: Path) -> Codebooks:
    with safe_open(path, framework="numpy") as file:
        about = file.metadata() or {}
        if about.get("format") != FORMAT:
            raise ValueError(f"its format must be {FORMAT!r}, got {about.get('format')!r}")
        names = file.keys()
        tensors = {name: file.get_tensor(name) for name in names}
    config = _config(about.get("config", ""))
    for name, array in tensors.items():
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise ValueError(f"{name} must hold finite float32 numbers, got {array.dtype}")
    centroids_LKC = tensors.pop("centroids", np.empty(0))
    if centroids_LKC.shape[:2] != (config.num_levels, config.num_codes) or centroids_LKC.ndim != 3:
        raise ValueError(
            f"centroids must have shape ({config.num_levels}, {config.num_codes}, C), "
            f"got {centroids_LKC.shape}"
        )
    encoder, decoder = _layers(tensors, "encoder"), _layers(tensors, "decoder")
    if tensors:
        raise ValueError(f"it must hold nothing else, got {sorted(tensors)}")
    _check_widths(encoder, decoder, centroids_LKC.shape[2])
    described = Described(model_version=about.get("model_version", ""), config=config)
    return Codebooks(described, centroids_LKC, encoder, decoder)


def _config(text: str) -> CodesConfig:
    try:
        plain: Any = json.loads(text)
    except ValueError as error:
        raise ValueError(f"its config must be JSON, got {text[:100]!r}") from error
    return msgspec.convert(plain, CodesConfig)


def _layers(tensors: dict[str, np.ndarray], side: str) -> tuple[Layer, ...]:
    """Take the layers of the encoder or decoder out of the tensors."""
    found: list[Layer] = []
    while (weight := tensors.pop(f"{side}.{len(found)}.weight", None)) is not None:
        bias = tensors.pop(f"{side}.{len(found)}.bias", np.empty(0))
        if weight.ndim != 2 or bias.shape != weight.shape[:1]:
            raise ValueError(
                f"layer {len(found)} of the {side} must have a weight (out, in) and a bias (out,), "
                f"got {weight.shape} and {bias.shape}"
            )
        found.append((weight, bias))
    return tuple(found)


def _check_widths(encoder: tuple[Layer, ...], decoder: tuple[Layer, ...], latent: int) -> None:
    """Refuse layers that do not fit each other, or the centroids between them."""
    if bool(encoder) != bool(decoder):
        raise ValueError("there must be an encoder and a decoder, or neither, got one")
    if not encoder:
        return
    layers = (*encoder, *decoder)
    widths = [weight.shape for weight, _ in layers]
    fits = all(out == into for (out, _), (_, into) in pairwise(widths))
    if not fits or encoder[-1][0].shape[0] != latent or decoder[-1][0].shape[0] != widths[0][1]:
        raise ValueError(
            f"layers must fit each other and centroids of {latent} numbers, got {widths}"
        )

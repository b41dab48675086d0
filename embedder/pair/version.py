"""Versions of frozen encoders with heads, as folders, and their identity; free of torch.

text/               the text encoder, a sentence-transformers folder
image/              the image encoder
heads.safetensors   what was trained
pair.json           sizes of the heads
manifest.json       name, prefixes, lineage; written last
"""

import hashlib
from pathlib import Path

from embedder.version import READ_PATTERNS, plain_name, read_manifest

PAIR = "pair:"
"""Before the two models that a fine-tune starts from, TEXT,IMAGE."""

TEXT, IMAGE = "text", "image"
HEADS, SIZES = "heads.safetensors", "pair.json"

CODE_VERSION = 1
"""Raise it whenever `embedder.pair` would give another vector, e.g. of another resize filter."""


def is_pair(model: str | Path) -> bool:
    """Return whether a model is the folder of a version with heads."""
    return (Path(model) / SIZES).is_file()


def pair_models(base: str) -> tuple[str, str]:
    """Return the text encoder and the image encoder that `pair:TEXT,IMAGE` names.

    Raises:
        ValueError: it does not name two.

    >>> pair_models("pair:weights/minilm,weights/lite0")
    ('weights/minilm', 'weights/lite0')
    """
    names = [name.strip() for name in base.removeprefix(PAIR).split(",")]
    if len(names) != 2 or not all(names):
        raise ValueError(
            f"a pair must name a text encoder and an image encoder, {PAIR}TEXT,IMAGE, got {base!r}"
        )
    return names[0], names[1]


def pair_version(folder: Path) -> str:
    """Return name and digest of every file that decides a vector: encoders, processor, heads."""
    return folder_version(folder, name=read_manifest(folder).name)


def folder_version(folder: Path, *, name: str = "") -> str:
    """Return name and digest of every file that may decide a vector, but the manifest.

    Args:
        folder: of encoders, or of one.
        name: the folder's own when empty.
    """
    digest = hashlib.blake2b(f"{PAIR}{CODE_VERSION}".encode(), digest_size=6)
    found = {path for pattern in READ_PATTERNS for path in folder.rglob(pattern)}
    for path in sorted(found - {folder / "manifest.json"}):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "blake2b").digest())
    return f"{name or plain_name(folder.name)}-{digest.hexdigest()}"

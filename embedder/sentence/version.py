"""Identity of a sentence-transformers model, without loading it."""

import hashlib
from pathlib import Path

from embedder.precision import Dtype
from embedder.version import READ_PATTERNS, fetched_folder, plain_name, read_manifest

CODE_VERSION = 2
"""Raise it whenever `embedder.sentence.encoder` would give another vector."""


def sentence_folder(model: str) -> Path:
    """Return the folder of a model: an existing one, or that of a hub id, then downloaded.

    Raises:
        FileNotFoundError: it does not exist, or holds weights that are pickled and not safetensors.
            Reading pickled weights can run code.
    """
    folder = fetched_folder(model)
    pickled = [path for path in folder.rglob("*.bin") if not any(path.parent.glob("*.safetensors"))]
    if pickled or not any(folder.rglob("*.safetensors")):
        raise FileNotFoundError(
            f"{folder} must hold *.safetensors weights for each of its modules; convert other "
            "formats first, they are not read because they can run code"
        )
    return folder


def sentence_name(model: str) -> str:
    """Return the human part of the model's id: its manifest's, or the end of folder or hub id."""
    folder = sentence_folder(model)
    if (folder / "manifest.json").exists():
        return read_manifest(folder).name
    # A hub id's own folder is called after a commit, so the name is taken from what was asked for.
    return plain_name(Path(model).name or folder.resolve().name)


def sentence_version(model: str, *, dtype: Dtype = "float32") -> str:
    """Return name and digest of every file that decides a vector, in all module folders.

    Args:
        model: folder or hub id.
        dtype: what its weights are loaded as.
    """
    folder = sentence_folder(model)
    digest = hashlib.blake2b(f"sentence-transformers/{CODE_VERSION}".encode(), digest_size=6)
    found = {path for pattern in READ_PATTERNS for path in folder.rglob(pattern)}
    for path in sorted(found):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "blake2b").digest())
    if dtype != "float32":
        digest.update(dtype.encode())
    return f"{sentence_name(model)}-{digest.hexdigest()}"

"""Identity of a sentence-transformers model, without loading it."""

import hashlib
from pathlib import Path

from embedder.version import READ_PATTERNS, read_manifest

CODE_VERSION = 1
"""Raise it whenever `embedder.sentence.encoder` would give another vector."""


def sentence_folder(model: str) -> Path:
    """Return the folder of a model: an existing one, or that of a hub id, then downloaded.

    Raises:
        FileNotFoundError: it does not exist, or holds weights that are pickled and not safetensors.
            Reading pickled weights can run code.
    """
    if Path(model).is_dir():
        folder = Path(model)
    elif model.startswith((".", "/")):
        raise FileNotFoundError(f"model folder {model!r} does not exist")
    else:
        from huggingface_hub import snapshot_download  # only here: a folder needs no hub

        folder = Path(snapshot_download(model, allow_patterns=list(READ_PATTERNS)))
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
    last = Path(model).name or folder.resolve().name
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in last)


def sentence_version(model: str) -> str:
    """Return name and digest of every file that decides a vector, in all module folders."""
    folder = sentence_folder(model)
    digest = hashlib.blake2b(f"sentence-transformers/{CODE_VERSION}".encode(), digest_size=6)
    found = {path for pattern in READ_PATTERNS for path in folder.rglob(pattern)}
    for path in sorted(found):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "blake2b").digest())
    return f"{sentence_name(model)}-{digest.hexdigest()}"

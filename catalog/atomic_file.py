"""Files that are there as a whole or not at all."""

import secrets
from collections.abc import Callable
from pathlib import Path


def write_atomically(path: Path, content: str | bytes | Callable[[Path], object]) -> None:
    """Write a file in one step: a kill leaves the old one or the new one, never a part of it.

    The content is written beside the file under a name of its own, which then replaces it; of two
    writers at once the later one stays. A kill in between may leave that other file, which begins
    with a dot and ends in `.tmp`. Nothing is forced to disk: a power cut may cost the new file.

    Args:
        path: the file; folders above it that are missing are made.
        content: text, kept as UTF-8; bytes; or a function that writes to the path it is given.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        if isinstance(content, str):
            unfinished.write_text(content, encoding="utf-8")
        elif isinstance(content, bytes):
            unfinished.write_bytes(content)
        else:
            content(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)

"""Query sets that never change, so that every version is measured on the same.

A set is a folder, read and not trusted: whatever was changed in it shows in the digest.

    queries.jsonl   query_id, text or item, relevant, tier, held_out
    items.jsonl     item_id, text, image: the file's name below images/, or null
    images/         named by the hash of what they hold
    digest          of all of it
"""

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from embedder.content import Content
from evaluation.query_sets import Query, QuerySet, read_queries, write_queries


class _FrozenItem(msgspec.Struct, kw_only=True, frozen=True):
    item_id: str
    text: str
    image: str | None
    gallery: tuple[str, ...] = ()
    clip: str | None = None
    audio: str | None = None


@dataclass(frozen=True, slots=True)
class FrozenSet(QuerySet):
    """A query set that never changes."""

    digest: str
    """Sets with equal digests are the same."""


def freeze(
    queries: Sequence[Query],
    contents: Mapping[str, Content],
    folder: Path,
    *,
    max_items: int = 5_000,
    seed: int = 0,
) -> FrozenSet | None:
    """Write a set, and return it as it is read again; None when no query has a right item.

    Args:
        queries: right items that have no content are struck out, and queries that are left with
            none, or whose own item has none.
        contents: by item_id, the items that can be found.
        folder: must not exist; it is there as a whole or not at all.
        max_items: of more, those that the queries name are kept, and others drawn.
        seed: decides which.
    """
    asked = [
        msgspec.structs.replace(query, relevant=[i for i in query.relevant if i in contents])
        for query in queries
        if query.item is None or query.item in contents
    ]
    asked = [query for query in asked if query.relevant]
    if not asked:
        return None
    named = {i for query in asked for i in (*query.relevant, *([query.item] if query.item else []))}
    others = sorted(set(contents) - named)
    drawn = random.Random(seed).sample(others, max(0, min(len(others), max_items - len(named))))
    unfinished = folder.with_name(f".{folder.name}")
    (unfinished / "images").mkdir(parents=True, exist_ok=True)
    items = [_write_item(i, contents[i], unfinished) for i in sorted({*named, *drawn})]
    (unfinished / "items.jsonl").write_bytes(msgspec.json.Encoder().encode_lines(items))
    write_queries(unfinished / "queries.jsonl", asked)
    (unfinished / "digest").write_text(f"{_digest(unfinished)}\n")
    unfinished.rename(folder)
    return read_frozen_set(folder)


def _write_item(item_id: str, content: Content, folder: Path) -> _FrozenItem:
    return _FrozenItem(
        item_id=item_id,
        text=content.text,
        image=_write_media(content.image, folder),
        gallery=tuple(_write_media(image, folder) or "" for image in content.gallery),
        clip=_write_media(content.clip, folder),
        audio=_write_media(content.audio, folder),
    )


def _write_media(data: bytes | None, folder: Path) -> str | None:
    if data is None:
        return None
    name = hashlib.sha256(data).hexdigest()
    (folder / "images" / name).write_bytes(data)
    return name


def read_frozen_set(folder: Path) -> FrozenSet:
    """Read the set of a folder.

    Raises:
        ValueError: something in it has changed since it was frozen.
    """
    digest, found = (folder / "digest").read_text().strip(), _digest(folder)
    if digest != found:
        raise ValueError(
            f"the evaluation set {folder} must be as it was frozen, with digest {digest}, got "
            f"{found}; restore it, or remove the folder to freeze another one"
        )
    items = msgspec.json.Decoder(_FrozenItem).decode_lines((folder / "items.jsonl").read_bytes())
    contents = {item.item_id: _content(folder, item) for item in items}
    return FrozenSet(contents, read_queries(folder / "queries.jsonl"), digest)


def _content(folder: Path, item: _FrozenItem) -> Content:
    images = folder / "images"
    return Content(
        item.text,
        None if item.image is None else (images / item.image).read_bytes(),
        gallery=tuple((images / name).read_bytes() for name in item.gallery),
        clip=None if item.clip is None else (images / item.clip).read_bytes(),
        audio=None if item.audio is None else (images / item.audio).read_bytes(),
    )


def _digest(folder: Path) -> str:
    digest = hashlib.blake2b(digest_size=8)
    names = ("items.jsonl", "queries.jsonl")
    for path in (*(folder / name for name in names), *sorted((folder / "images").iterdir())):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "blake2b").digest())
    return digest.hexdigest()

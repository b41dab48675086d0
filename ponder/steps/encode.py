"""Lines of JSON to rows with vectors: what `ponder encode` does."""

import json
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from catalog.images.base64_text import decode_base64
from embedder.content import Action, Answer, Content, Failure, prefix
from embedder.prompting.template import item_text

Stream = Callable[[Iterable[Content]], Iterator[tuple[int, Answer]]]

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("vector", pa.list_(pa.float32())),
        ("model_version", pa.string()),
        ("action", pa.string()),
        ("gate_probability", pa.float32()),
        ("rationale", pa.string()),
        ("summary", pa.string()),
        ("error", pa.string()),
    ]
)
ROWS_PER_GROUP = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedRow:
    """What became of a line that was encoded."""

    id: str
    vector: list[float]
    """Of unit length."""

    model_version: str
    action: Action
    """Whether it was reasoned about: `direct` or `reason`."""

    gate_probability: float
    """Of reasoning, in [0, 1]; from the manifest's theta on it is done."""

    rationale: str
    summary: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FailedRow:
    """What became of a line that could not be encoded."""

    id: str
    error: str


Row = EncodedRow | FailedRow


@dataclass(frozen=True, slots=True)
class Line:
    """A line that was read: its content, or why it has none."""

    id: str
    content: Content | None
    error: str = ""


def read_lines(file: Iterable[str], *, folder: Path) -> Iterator[Line]:
    """Read the lines of a JSON Lines file, empty ones left out.

    Args:
        file: its lines. One without an id gets its number, from 1.
        folder: where paths of images start.
    """
    for number, text in enumerate(file, start=1):
        text = text.strip().removeprefix("\ufeff").strip()
        if not text:
            continue
        name = str(number)
        try:
            record = json.loads(text)
            if not isinstance(record, dict):
                raise ValueError(f"a line must be a JSON object, got {type(record).__name__}")
            names = (record.get("id"), record.get("item_id"), number)
            name = str(next(each for each in names if each is not None))
            yield Line(name, _content(record, folder))
        except (ValueError, TypeError, OSError) as error:
            yield Line(name, None, f"line {number}: {error}")


def _content(record: dict[str, Any], folder: Path) -> Content:
    words = [record.get(name) for name in ("title", "text", "category")]
    if not all(word is None or isinstance(word, str) for word in words):
        raise ValueError("title, text and category must be strings")
    image, further = record.get("image", record.get("image_uri")), record.get("image_uris") or []
    images = dict.fromkeys([*([] if image is None else [image]), *further])
    video, audio = (record.get(name, record.get(f"{name}_uri")) for name in ("video", "audio"))
    loaded = [_loaded("image", uri, folder) for uri in images]
    return Content(
        item_text(words[0], words[1], words[2], record.get("tags") or ()),
        loaded[0] if loaded else None,
        gallery=tuple(loaded[1:]),
        clip=None if video is None else _loaded("video", video, folder),
        audio=None if audio is None else _loaded("audio", audio, folder),
    )


def _loaded(field: str, uri: object, folder: Path) -> bytes:
    if not isinstance(uri, str):
        raise ValueError(f"{field} must be a path or a data: URI")
    if not uri.startswith("data:"):
        return (folder / uri).read_bytes()
    try:
        return decode_base64(uri.partition(";base64,")[2])
    except ValueError as error:
        raise ValueError(f"the data: URI must be base64: {error}") from error


def encoded_rows(
    lines: Iterable[Line], stream: Stream, *, version: str, dim: int | None
) -> Iterator[Row]:
    """Encode lines; yield a row for each, as it is done.

    Args:
        lines: drawn as they are needed, so they may be endless.
        stream: encodes contents; gives their numbers, from 0, and answers in any order.
        version: the encoder's.
        dim: keep so many numbers of each vector, normalised again; None: all.
    """
    names: dict[int, str] = {}
    refused: deque[FailedRow] = deque()

    def contents() -> Iterator[Content]:
        number = 0
        for line in lines:
            if line.content is None:
                refused.append(FailedRow(id=line.id, error=line.error))
                continue
            names[number] = line.id
            number += 1
            yield line.content

    for number, answer in stream(contents()):
        while refused:
            yield refused.popleft()
        yield _row(names.pop(number), answer, version=version, dim=dim)
    yield from refused


def _row(name: str, answer: Answer, *, version: str, dim: int | None) -> Row:
    if isinstance(answer, Failure):
        return FailedRow(id=name, error=answer.reason)
    vector = answer.vector if dim is None else prefix(answer.vector[None], dim)[0]
    return EncodedRow(
        id=name,
        vector=np.asarray(vector, dtype=np.float32).tolist(),
        model_version=version,
        action=answer.action,
        gate_probability=answer.gate_probability,
        rationale=answer.rationale,
        summary=answer.summary,
    )


def write_rows(rows: Iterable[Row], out: Path | None, *, progress: Callable[[int], None]) -> int:
    """Write rows as JSON lines or, to a name that ends in .parquet, as Parquet.

    Returns:
        How many of them are errors.
    """
    if out is not None and out.suffix == ".parquet":
        with pq.ParquetWriter(out, SCHEMA) as writer:
            return sum(_write_group(group, writer, progress) for group in _groups(rows))
    with nullcontext(sys.stdout) if out is None else out.open("w", encoding="utf-8") as file:
        return sum(_write_line(row, file, progress) for row in rows)


def _groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    source = iter(rows)
    return iter(lambda: list(islice(source, ROWS_PER_GROUP)), [])


def _write_group(
    group: list[Row], writer: pq.ParquetWriter, progress: Callable[[int], None]
) -> int:
    writer.write_table(pa.Table.from_pylist([asdict(row) for row in group], schema=SCHEMA))
    progress(len(group))
    return sum(isinstance(row, FailedRow) for row in group)


def _write_line(row: Row, file: TextIO, progress: Callable[[int], None]) -> int:
    file.write(json.dumps(asdict(row), ensure_ascii=False) + "\n")
    file.flush()
    progress(1)
    return int(isinstance(row, FailedRow))

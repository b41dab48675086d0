"""What the data may bring beside items and events: pairs, hard negatives, rationales, texts.

All of these lie in the data folder or, for the lake, in the home, and none must be there:

    pairs.jsonl           query_text or query_item, target_item; further columns of
                          `embedder.finetune.data.pair_rows.PAIRS` as far as known
    hard_negatives.jsonl  pair_id, item_id; key: of its contents, if others share it
    rationales.jsonl      worker, side, query_text or item_id, text, summary
    vocabulary.txt        texts to learn new tokens from
    wordings.txt          wordings of attributes, one a line
    searches.jsonl        request_id and text of what was searched
    asked.jsonl           questions like those that will be asked, as in a queries.jsonl
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from catalog.text_lines import text_lines
from embedder.content import Content
from embedder.reasoners.reasoner import Rationale
from evaluation.query_sets import Query, read_queries

if TYPE_CHECKING:
    from embedder.finetune.rationales.generate import ScriptedWorker

GIVEN = "given"
"""Source of pairs that the data bring and name no source for."""

ASKED = "asked.jsonl"

_NEGATIVES = {"pair_id": pl.String, "item_id": pl.String, "key": pl.String}
_SEARCHES = {"request_id": pl.String, "text": pl.String}
_RATIONALES = {
    name: pl.String for name in ("worker", "side", "query_text", "item_id", "text", "summary")
}


def read_pairs(folder: Path) -> pl.DataFrame:
    """Return the folder's own pairs as rows of `PAIRS`, in its order; none without the file."""
    from embedder.finetune.data.pair_rows import PAIRS, with_pair_ids

    rows = _read_jsonl(folder / "pairs.jsonl", PAIRS.columns)
    keys = {
        "source": pl.lit(GIVEN),
        "query_key": pl.coalesce("query_item", "query_text"),
        "target_key": pl.col("target_item"),
        "target_view": pl.lit("whole"),
        "weight": pl.lit(1.0),
    }
    filled = rows.with_columns(
        pl.col(name).fill_null(default).cast(PAIRS.columns[name]) for name, default in keys.items()
    )
    return with_pair_ids(filled)


def read_hard_negatives(folder: Path) -> pl.DataFrame:
    """Return pair_id, item_id and key of the folder's hard negatives; none without the file."""
    rows = _read_jsonl(folder / "hard_negatives.jsonl", _NEGATIVES)
    return rows.with_columns(key=pl.coalesce("key", "item_id"))


def read_workers(folder: Path, contents: Mapping[str, Content]) -> "list[ScriptedWorker]":
    """Return a worker for everybody who wrote the folder's rationales, by name.

    Args:
        folder: of the data.
        contents: by item_id; rationales about other items are left out.
    """
    from embedder.finetune.rationales.generate import ScriptedWorker
    from embedder.reasoners.cache import content_key

    rows = _read_jsonl(folder / "rationales.jsonl", _RATIONALES)
    workers = []
    for (name,), written in rows.sort("worker", maintain_order=True).group_by(
        "worker", maintain_order=True
    ):
        scripts: dict[str, Rationale] = {}
        for row in written.iter_rows(named=True):
            about = (
                Content(row["query_text"])
                if row["item_id"] is None
                else contents.get(row["item_id"])
            )
            if about is not None:
                scripts.setdefault(content_key(about), Rationale(row["text"], row["summary"]))
        digest = hashlib.blake2b(written.write_ndjson().encode(), digest_size=4).hexdigest()
        workers.append(ScriptedWorker(scripts, name=str(name), prompt_version=digest))
    return workers


def read_texts(folder: Path) -> list[str]:
    """Return the folder's texts to learn tokens from; none without the file."""
    return [line.decode() for line in _lines(folder / "vocabulary.txt")]


def read_wordings(folder: Path) -> list[str]:
    """Return the folder's wordings, each once; none without the file."""
    return list(dict.fromkeys(line.decode() for line in _lines(folder / "wordings.txt")))


def read_searches(folder: Path) -> pl.DataFrame:
    """Return request_id and text of the folder's searches; empty without the file."""
    return _read_jsonl(folder / "searches.jsonl", _SEARCHES)


def read_asked(folder: Path) -> list[Query]:
    """Return the folder's questions like those that will be asked; none without the file.

    Raises:
        ValueError: a line is not a question.
    """
    path = folder / ASKED
    return read_queries(path) if path.exists() else []


def _read_jsonl(
    path: Path, columns: Mapping[str, "pl.DataType | type[pl.DataType]"]
) -> pl.DataFrame:
    schema = pl.Schema(dict(columns))
    lines = _lines(path)
    return pl.read_ndjson(b"\n".join(lines), schema=schema) if lines else schema.to_frame()


def _lines(path: Path) -> list[bytes]:
    return [line for _, line in text_lines(path)] if path.exists() else []

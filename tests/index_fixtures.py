"""What tests of recall and serving share: Milvus Lite, rows by hand, an encoder of few words."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pymilvus import MilvusClient  # noqa: F401  (importing it sets up the logger silenced below)

from embedder.content import Content, Encoding, Policy
from features.history_store import UserHistory
from recall.collection import IndexConfig
from recall.index import ItemIndex

logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # it logs expected errors with tracebacks

REASONING_S = 0.5  # that the fake takes, by its own account
WORDS = ("red", "green", "blue", "grey")


class FakeEncoder:
    """One axis per word; a text is the normalised sum of its words, an image is `blue`."""

    version = "v1"
    dim = len(WORDS)

    def encode_query(
        self,
        queries: Sequence[Content],
        *,
        policy: Policy = "auto",
        deadline_s: float | None = None,
        max_new_tokens: int | None = None,
    ) -> list[Encoding]:
        in_time = deadline_s is None or deadline_s >= REASONING_S
        encodings = [self._encoding(query, policy if in_time else "never") for query in queries]
        late = policy == "always" and not in_time
        if late:
            return [replace(e, fallback="too late", out_of_time=True) for e in encodings]
        return [_cut(e, max_new_tokens) for e in encodings]

    encode_items = encode_query

    def _encoding(self, content: Content, policy: Policy) -> Encoding:
        words = (
            content.text.split()
            + (["blue"] if content.image else [])
            + (["grey"] if content.clip else [])
            + (["green"] if content.audio else [])
        )
        if unknown := set(words) - set(WORDS):
            raise ValueError(f"unknown words {sorted(unknown)}")
        vector = np.array([float(words.count(word)) for word in WORDS], dtype=np.float32)
        reason = policy == "always"
        return Encoding(
            vector=vector / np.linalg.norm(vector),
            action="reason" if reason else "direct",
            gate_probability=0.5,
            rationale="because" if reason else "",
        )


def _cut(encoding: Encoding, max_new_tokens: int | None) -> Encoding:
    """A letter counts as a token."""
    return replace(encoding, rationale=encoding.rationale[:max_new_tokens])


class AxisCoder:
    """Two codes of a vector: its axes, the greatest first."""

    num_levels = 2

    def assign(self, vectors_ND: np.ndarray) -> np.ndarray:
        return np.argsort(-np.asarray(vectors_ND), axis=1, kind="stable")[:, :2].astype(np.int32)

    def told(self, vectors_ND: np.ndarray) -> list[str]:
        """Codes as an index holds them."""
        return [f"{first}-{second}-" for first, second in self.assign(vectors_ND).tolist()]


class KnownHistories:
    """Histories by hand: what users liked, what else they did, and what is popular."""

    def __init__(
        self,
        liked: Mapping[str, Sequence[str]] | None = None,
        *,
        acted: Mapping[str, Sequence[str]] | None = None,
        shown: Mapping[str, Sequence[str]] | None = None,
        popular: Sequence[str] = (),
    ) -> None:
        self._lists = (liked or {}, acted or {}, shown or {})
        self._popular = popular

    def of(self, user_id: str) -> UserHistory:
        liked, acted, shown = (list(each.get(user_id, ())) for each in self._lists)
        return UserHistory(liked=liked, acted=acted, shown=shown)

    def popular(self, limit: int) -> pl.DataFrame:
        ids = list(self._popular[:limit])
        return pl.DataFrame({"item_id": ids, "popularity": [1.0] * len(ids)})


def build_rows(**vectors: Sequence[float]) -> pl.DataFrame:
    """Rows of the index; item `a` was created at 1970-01-01, each further one a day later."""
    start = datetime(1970, 1, 1, tzinfo=UTC)
    return pl.DataFrame(
        {
            "item_id": list(vectors),
            "vector": [list(map(float, vector)) for vector in vectors.values()],
            "content_hash": [f"hash-{item_id}" for item_id in vectors],
            "category": [None] * len(vectors),
            "tags": [[]] * len(vectors),
            "attributes": ["{}"] * len(vectors),
            "created_at": [start + timedelta(days=n) for n in range(len(vectors))],
            "codes": [""] * len(vectors),
        },
        schema_overrides={
            "vector": pl.List(pl.Float32),
            "category": pl.String,
            "tags": pl.List(pl.String),
            "created_at": pl.Datetime("us", "UTC"),
        },
    )


@pytest.fixture(scope="session")
def rows() -> Callable[..., pl.DataFrame]:
    return build_rows


@pytest.fixture(scope="session")
def encoder() -> FakeEncoder:
    return FakeEncoder()


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ItemIndex]:
    folder: Path = tmp_path_factory.mktemp("milvus")
    # A busy machine takes longer than people wait for an answer.
    config = IndexConfig(uri=str(folder / "items.db"), search_timeout_s=60)
    with ItemIndex.open(config) as opened:
        yield opened

"""The stage that gathers what is learned from: pairs, and the evaluation sets of the same data."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from catalog.lake.tables import ITEMS, MEDIA
from embedder.content import nothing_left
from embedder.version import reads_audio, resolve
from evaluation.query_sets import Query, read_queries
from features.histories import HistoryConfig, positive_events
from ponder.finetuning import given
from ponder.finetuning.config import LAKE
from ponder.finetuning.frozen_set import freeze
from ponder.finetuning.results import GatheredPairs
from ponder.finetuning.run import Progress, Run
from ponder.steps.land import land_folder

if TYPE_CHECKING:
    from embedder.content import Content
    from embedder.finetune.data.pairs import Pair

AFTER = "after-"
"""Before the name of an evaluation set of events that lie after a split."""

MAX_LATER_QUERIES = 500


def gather(run: Run, progress: Progress) -> GatheredPairs:
    """Gather what there is to learn from, and the evaluation sets of the same data: stage `pairs`.

    Sources with fewer pairs than a batch holds are left out. An evaluation set that is there
    already stays as it is.

    Raises:
        ValueError: no source has a batch of pairs, or a wording of attributes asks for nothing.
    """
    from ponder.finetuning.pair_sources import contents_of, split_moment

    config = run.config
    if config.data != LAKE:
        land_folder(run.data_settings, Path(config.data), progress=progress)
    read_at = datetime.now(UTC)
    items, media = (run.lake.read(table, as_of=read_at) for table in (ITEMS, MEDIA))
    contents = contents_of(items, dict(zip(media["hash"], media["bytes"], strict=True)))
    positives = positive_events(run.events, config=HistoryConfig())
    before = split_moment(positives, config.before)
    found, num_skipped = _readable_rows(run, items, contents, positives, before)
    batch_size = config.joint.batch_size
    enough = pl.len().over("source") >= batch_size
    kept, few = found.filter(enough), found.filter(~enough)
    if kept.is_empty():
        raise ValueError(
            f"a source must have a batch of {batch_size} pairs, got "
            f"{_by_source(found) or 'none at all'}; lower joint.batch_size or bring more data"
        )
    (run.folder / "pairs").mkdir(exist_ok=True)
    kept.write_parquet(run.folder / "pairs" / "pairs.parquet")
    return GatheredPairs(
        pairs=_by_source(kept),
        left_out=_by_source(few),
        skipped=num_skipped,
        digest=_digest(kept, items),
        before=None if before is None else before.isoformat(),
        read_at=read_at.isoformat(),
        sets=tuple(_freeze_sets(run, contents, positives, before)),
    )


def _readable_rows(
    run: Run,
    items: pl.DataFrame,
    contents: "Mapping[str, Content]",
    positives: pl.DataFrame,
    before: datetime | None,
) -> tuple[pl.DataFrame, int]:
    """Return rows of pairs whose contents there are, and how many others there were."""
    from embedder.finetune.data.pair_rows import read_pairs
    from ponder.finetuning.pair_sources import training_rows

    config = run.config
    found = training_rows(
        items,
        positives,
        before=before,
        searches=given.read_searches(run.data_folder),
        wordings=given.read_wordings(run.data_folder),
        sources=config.pairs.sources,
        max_pairs=config.pairs.max_pairs,
        seed=config.seed,
    )
    rows = pl.concat([given.read_pairs(run.data_folder), found])
    read = read_pairs(rows, contents)
    skipped = set(read.skipped)
    reads_clips = run.frozen_models is None
    if not (reads_clips and (run.config.audio or reads_audio(resolve(run.given_base)))):
        skipped |= {
            pair.pair_id for pair in read.pairs if _is_unread(pair, reads_clips=reads_clips)
        }
    return rows.filter(~pl.col("pair_id").is_in(list(skipped))), len(skipped)


def _is_unread(pair: "Pair", *, reads_clips: bool) -> bool:
    """Return whether of a side of a pair nothing is left to a base that reads no sounds."""
    sides = (pair.query, pair.target)
    return any(nothing_left(one, "the base", reads_clips=reads_clips) for one in sides)


def _by_source(rows: pl.DataFrame) -> dict[str, int]:
    return dict(rows.group_by("source").len().sort("source").iter_rows())


def _digest(rows: pl.DataFrame, items: pl.DataFrame) -> str:
    """Return a digest of the pairs and of the contents of all items."""
    digest = hashlib.blake2b(digest_size=8)
    for line in (*sorted(rows["pair_id"]), *sorted(items["content_hash"].drop_nulls())):
        digest.update(f"{line}\n".encode())
    return digest.hexdigest()


def _freeze_sets(
    run: Run, contents: "Mapping[str, Content]", positives: pl.DataFrame, before: datetime | None
) -> list[str]:
    """Freeze the sets of this data, unless they are there, and return the names of all to use.

    They are the folder's questions, what users did after the split, and all others that somebody
    has put there.
    """
    from ponder.finetuning.pair_sources import later_queries

    run.sets_folder.mkdir(parents=True, exist_ok=True)
    asked: dict[str, list[Query]] = {}
    if before is not None:
        queries = later_queries(
            positives, since=before, max_queries=MAX_LATER_QUERIES, seed=run.config.seed
        )
        asked[f"{AFTER}{before:%Y%m%dT%H%M%S}"] = queries
    questions = Path(run.config.data) / "queries.jsonl"
    if run.config.data != LAKE and questions.exists():
        digest = hashlib.blake2b(questions.read_bytes(), digest_size=4).hexdigest()
        name = f"{questions.resolve().parent.name}-{digest}"
        asked[name] = read_queries(questions)
    for name, queries in asked.items():
        if not (run.sets_folder / name).exists():
            freeze(queries, contents, run.sets_folder / name, seed=run.config.seed)
    found = sorted(path.parent.name for path in run.sets_folder.glob("[!.]*/digest"))
    # What came after another run's split, this one may have learned from.
    return [name for name in found if name in asked or not name.startswith(AFTER)]

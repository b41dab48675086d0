"""Evaluate recall of the configured version, without a ranker."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from catalog.lake.tables import EVENTS
from ponder.settings import Settings
from ponder.steps.progress import Progress, ignore_progress
from ponder.steps.saved_reports import write_report
from ponder.wiring.encoder import configured_version, open_encoder
from ponder.wiring.stores import open_lake
from ponder.wiring.vectors import living_vectors

if TYPE_CHECKING:
    from evaluation.query_evaluation import QueryEvaluation

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class RecallEvaluation:
    """How well recall of one version finds what it should."""

    model_version: str

    histories: Mapping[str, float] | None
    """As of `evaluation.next_item.evaluate_next_item`; None when nobody liked two
    items that have a vector."""

    queries: "QueryEvaluation | None"
    """None when there are none to ask."""


def evaluate(
    settings: Settings, queries: Path | None = None, *, progress: Progress = ignore_progress
) -> RecallEvaluation:
    """Evaluate the configured version's recall and write `recall.json` to the reports folder.

    Args:
        settings: the deployment.
        queries: a `queries.jsonl`; None evaluates users' histories only. When the right items of
            all its queries are gone, there is nothing to measure, which a warning says.
        progress: told how many more queries were encoded.
    """
    from evaluation.exact_ranking import Catalogue
    from evaluation.next_item import evaluate_next_item
    from evaluation.query_evaluation import evaluate_queries
    from evaluation.query_sets import answerable, read_queries

    version = configured_version(settings)
    lake = open_lake(settings)
    living = living_vectors(lake, version)
    by_histories = evaluate_next_item(
        lake.read(EVENTS), Catalogue.of(living), centred=settings.centre_profiles
    )
    by_queries = None
    asked = [] if queries is None else read_queries(queries)
    if asked and not answerable(asked, living["item_id"]):
        logger.warning("queries=%d and the right items of all are gone: %s", len(asked), queries)
    elif asked:
        encoder = open_encoder(settings)
        by_queries = evaluate_queries(
            asked,
            Catalogue.of(living),
            encoder,
            dims=encoder.dims,
            progress=progress,
        )
    evaluation = RecallEvaluation(model_version=version, histories=by_histories, queries=by_queries)
    write_report(settings, "recall", evaluation)
    return evaluation

"""The step behind `ponder embedder report`: a query set in both modes, measured and drawn."""

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ponder.settings import Settings
from ponder.steps.progress import Progress, ignore_progress
from ponder.wiring.encoder import configured_manifest, open_encoder

if TYPE_CHECKING:
    from embedder.content import Content, Side
    from embedder.mmemb_r1 import MMEmbR1
    from embedder.reasoners.paired_encodings import PairedEncodings
    from evaluation.query_sets import QuerySet

SENSITIVITY_ITEMS = 500  # of each kind of rationale; the first by id, for cosines need no more


def embedder_report(
    settings: Settings,
    data: Path,
    out: Path,
    *,
    seed: int = 0,
    progress: Progress = ignore_progress,
) -> dict[str, Any]:
    """Writes `reasoning.json` and `reasoning.svg` to a folder, and gives what the first one holds.

    Args:
        settings: names the embedder and its reasoner; the policy of the deployment has no part.
        data: folder with items and `queries.jsonl`.
        out: where to write; is created.
        seed: of the bootstrap, and of whose rationale is exchanged with whose.
        progress: told how many more contents were embedded; each is embedded twice.

    Raises:
        ValueError: the embedder never reasons.
    """
    from embedder.reasoners.paired_encodings import paired_encodings
    from ponder.reports.reasoning.account import account
    from ponder.reports.reasoning.evaluation_set import read_evaluation_set
    from ponder.reports.reasoning.figure import write_figure
    from ponder.reports.reasoning.findings import findings

    encoder = _open_reasoning_encoder(settings)
    query_set = read_evaluation_set(settings, data, refusal=encoder.refusal)
    asked = query_set.query_contents
    queries = paired_encodings(lambda policy: encoder.encode_query(asked, policy=policy))
    progress(2 * len(asked))
    contents = list(query_set.contents.values())
    items = paired_encodings(
        lambda policy: encoder.encode_items(contents, policy=policy, progress=progress)
    )
    theta = configured_manifest(settings).theta
    report: dict[str, Any] = {
        "model_version": encoder.version,
        "reasoner": encoder.reasoner,
        **account(query_set, queries, items, theta=theta, seed=seed),
        "sensitivity": _sensitivities(encoder, query_set, queries, items, seed=seed),
    }
    report["findings"] = findings(report)
    out.mkdir(parents=True, exist_ok=True)
    (out / "reasoning.json").write_text(json.dumps(report, indent=1) + "\n")
    write_figure(report, out / "reasoning.svg")
    return report


def _open_reasoning_encoder(settings: Settings) -> "MMEmbR1":
    from embedder.mmemb_r1 import MMEmbR1

    encoder = open_encoder(settings)
    if not isinstance(encoder, MMEmbR1):
        raise ValueError(
            f"the embedder must be one that reasons, got {settings.model!r}; judge it with "
            "ponder evaluate"
        )
    return encoder


def _sensitivities(
    encoder: "MMEmbR1",
    query_set: "QuerySet",
    queries: "PairedEncodings",
    items: "PairedEncodings",
    *,
    seed: int,
) -> dict[str, Any]:
    from embedder.reasoners.given_rationales import encode_with_rationales
    from ponder.reports.reasoning.account import sensitivity

    def read(contents: "list[Content]", side: "Side") -> Any:
        return partial(encode_with_rationales, encoder.checkpoint, contents, side=side)

    asked = query_set.query_contents
    found = list(query_set.contents.values())[:SENSITIVITY_ITEMS]
    return {
        "query": sensitivity(
            queries,
            read(asked, "query"),
            evaluate=lambda vectors_QD: query_set.evaluate(vectors_QD, items.direct_ND),
            seed=seed,
        ),
        "item": sensitivity(items.first(SENSITIVITY_ITEMS), read(found, "item"), seed=seed),
    }

"""The page that shows what the last run did, in one file that needs nothing else."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from features.groups import VECTOR_GROUPS
from features.schema import feature_schema
from ponder.reports.html.gallery import cards
from ponder.reports.html.template import template
from ponder.reports.run import figures
from ponder.reports.run.deployment_snapshot import DeploymentSnapshot, deployment_snapshot
from ponder.reports.run.examples import first_right, worth_seeing
from ponder.reports.run.gate import probabilities, reasoned_items
from ponder.reports.run.neighbours import neighbourhoods
from ponder.reports.run.reasoning import account
from ponder.settings import Settings
from ponder.wiring.artifacts import sharing

NUM_FOUND = 6  # images shown of what a query found
NUM_IMPORTANCES = 20
NUM_LETTERS = 8


@dataclass(frozen=True, slots=True)
class Measurement:
    """A report that an earlier step left in the reports folder."""

    path: Path
    command: str
    values: dict[str, Any]
    """Empty when the step has not run yet."""

    @property
    def written_at(self) -> datetime | None:
        """When the step wrote it; None when it has not."""
        return datetime.fromtimestamp(self.path.stat().st_mtime, UTC) if self.values else None


@sharing("reports")
def write_html(settings: Settings, *, now: datetime | None = None) -> Path:
    """Write `report.html` to the reports folder and return its path.

    Equal lakes and reports give equal bytes, but for the time. What has not run yet is said in a
    sentence in its place.

    Args:
        settings: the deployment.
        now: the time on the page; the present when None.
    """
    held = deployment_snapshot(settings)
    recall = _measurement(settings, "recall", "ponder evaluate --queries DATA/queries.jsonl")
    ranking = _measurement(settings, "ranking", "ponder features && ponder ranker train")
    page = {
        "now": now or datetime.now(UTC),
        "held": held,
        "measurements": [recall, ranking],
        **_images(held, recall.values.get("queries")),
        **_queries(recall.values),
        **_ranking(ranking.values),
        "letters": _letters(held),
    }
    settings.reports_folder.mkdir(parents=True, exist_ok=True)
    path = settings.reports_folder / "report.html"
    path.write_text(template("report.html.j2").render(page), encoding="utf-8")
    return path


def _measurement(settings: Settings, name: str, command: str) -> Measurement:
    path = settings.reports_folder / f"{name}.json"
    values = json.loads(path.read_text()) if path.exists() else {}
    return Measurement(path, command, values)


def _images(held: DeploymentSnapshot, queries: Mapping[str, Any] | None) -> dict[str, Any]:
    """Everything that is shown item by item, and the gate's figure."""
    asked = queries["examples"] if queries else []
    examples = worth_seeing(asked)
    worth = account(queries)
    near = neighbourhoods(held.living)
    reasoned = reasoned_items(held.embeddings, held.rationales).to_dicts()
    shown = {n.item_id for n in near} | {item_id for n in near for item_id, _ in n.nearest}
    shown |= {
        item_id
        for example in (*examples, *worth["turned"], *worth["unturned"])
        for ids in (example["found"], example["found_direct"])
        for item_id in ids[:NUM_FOUND]
    }
    shown |= {row["item_id"] for row in reasoned}
    gate = probabilities(held.embeddings, asked)
    return {
        "neighbourhoods": near,
        "examples": examples,
        "worth": worth,
        "num_found": NUM_FOUND,
        "first_right": first_right,
        "reasoned": reasoned,
        "cards": cards(held.lake, sorted(shown)),
        "gate_figure": Markup(figures.gate_histogram(gate, theta=held.theta)) if gate else None,
    }


def _queries(recall: Mapping[str, Any]) -> dict[str, Any]:
    queries = recall.get("queries")
    slices = list(next(iter(queries["policies"].values()))["slices"]) if queries else []
    return {
        "recall_version": recall.get("model_version"),
        "queries": queries,
        "slices": sorted(slices, key="held_out".__eq__),  # a cut across the tiers, so after them
        "histories": recall.get("histories"),
    }


def _ranking(ranking: Mapping[str, Any]) -> dict[str, Any]:
    """The ranking report, with `evaluation` where both protocols keep their metrics."""
    shares = ranking.get("importances", {})
    best = sorted(shares, key=lambda name: (-shares[name], name))[:NUM_IMPORTANCES]
    schema = {feature.name: feature for feature in feature_schema()}
    match = [name for name, feature in schema.items() if feature.group in VECTOR_GROUPS]
    bars = {name: shares[name] for name in best}
    gains = _gains(ranking)
    return {
        "ranking": ranking,
        "evaluation": ranking.get("overall", ranking),
        "difference_figure": Markup(figures.difference_intervals(gains)) if gains else None,
        "importances": [(name, shares[name], schema.get(name)) for name in best],
        "importance_figure": Markup(figures.importance_bars(bars, warm=match)) if bars else None,
    }


def _gains(ranking: Mapping[str, Any]) -> dict[str, Mapping[str, float | None]]:
    """What the first comparison gains in ndcg@10: on the whole test, then on each of its parts."""
    if not ranking.get("slices"):
        return {}
    parts = {"all": ranking["overall"]}
    for slicing, found in ranking["slices"].items():
        parts |= {f"{slicing.replace('_', ' ')}: {name}": part for name, part in found.items()}
    compared = {name: next(iter(part["differences"].values())) for name, part in parts.items()}
    return {name: metrics["ndcg@10"] for name, metrics in compared.items()}


def _letters(held: DeploymentSnapshot) -> dict[str, Any]:
    stages = (
        held.letters.group_by("stage").len("num").sort(["num", "stage"], descending=[True, False])
    )
    return {
        "total": len(held.letters),
        "stages": stages.to_dicts(),
        "newest": held.letters.head(NUM_LETTERS).to_dicts(),
    }

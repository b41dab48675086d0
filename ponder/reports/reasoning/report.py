"""The step behind `ponder embedder report`: a query set in both modes, measured and drawn."""

from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog.atomic_file import write_atomically
from embedder.reasoning_budget import MeasuredGate, ReasoningBudget
from ponder.gate_measurements import keep_measured_gates
from ponder.json_form import to_json
from ponder.reports.reasoning.account import Account, Sensitivity, account, sensitivity
from ponder.settings import Settings
from ponder.steps.progress import Progress, ignore_progress
from ponder.wiring.artifacts import shared
from ponder.wiring.encoder import configured_manifest, gated_version, open_encoder

if TYPE_CHECKING:
    from embedder.content import Content, Side
    from embedder.mmemb_r1 import MMEmbR1
    from embedder.reasoners.paired_encodings import PairedEncodings
    from evaluation.query_sets import QuerySet

BUDGET_SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)
SENSITIVITY_ITEMS = 500  # of each kind of rationale; the first by id, for cosines need no more


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetPoint:
    """A budget for reasoning about one side."""

    share: float
    """Of the inputs, in [0, 1]."""

    mean_ms: float
    """To encode an input when so many are reasoned about."""

    theta: float
    """The least one that keeps within it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReasoningReport(Account):
    """What reasoning is worth to one model version, and whether it is heard."""

    model_version: str

    reasoner: str
    """Whose rationales were read."""

    sensitivity: dict[str, Sensitivity]
    """query, item -> how much its vectors depend on their rationales."""

    budgets: dict[str, list[BudgetPoint]]
    """query, item -> what each share of reasoning takes, and the theta that keeps within it."""

    findings: list[str]
    """What all of it says, in sentences."""


def embedder_report(
    settings: Settings,
    data: Path,
    out: Path,
    *,
    seed: int = 0,
    progress: Progress = ignore_progress,
) -> ReasoningReport:
    """Write `reasoning.json` and `reasoning.svg` to a folder; return what the first one holds.

    What the gate said is kept in the deployment, whose budgets for reasoning are then known.

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
    from ponder.reports.reasoning.figure import write_figure
    from ponder.reports.reasoning.findings import findings
    from ponder.reports.reasoning.query_set import read_query_set

    encoder = _open_reasoning_encoder(settings)
    query_set = read_query_set(settings, data, refusal=encoder.refusal)
    asked = query_set.query_contents
    queries = paired_encodings(lambda policy: encoder.encode_query(asked, policy=policy))
    progress(2 * len(asked))
    contents = list(query_set.contents.values())
    items = paired_encodings(
        lambda policy: encoder.encode_items(contents, policy=policy, progress=progress)
    )
    gates: dict[Side, MeasuredGate] = {
        "query": queries.measured_gate,
        "item": items.measured_gate,
    }
    with shared(settings, "gates"):
        keep_measured_gates(settings.gates_folder, gated_version(settings), gates)
    theta = configured_manifest(settings).theta
    worth = account(query_set, queries, items, theta=theta, seed=seed)
    sensitivities = _sensitivities(encoder, query_set, queries, items, seed=seed)
    report = ReasoningReport(
        **{field.name: getattr(worth, field.name) for field in fields(worth)},
        model_version=encoder.version,
        reasoner=encoder.reasoner,
        sensitivity=sensitivities,
        budgets={side: _budgets(gate) for side, gate in gates.items()},
        findings=findings(worth, sensitivities),
    )
    write_atomically(out / "reasoning.json", to_json(report, indent=1) + "\n")
    write_figure(report, out / "reasoning.svg")
    return report


def _budgets(gate: MeasuredGate) -> list[BudgetPoint]:
    extra_ms = gate.reasoned_ms - gate.direct_ms
    return [
        BudgetPoint(
            share=share,
            mean_ms=gate.direct_ms + share * extra_ms,
            theta=gate.theta(ReasoningBudget(share=share)),
        )
        for share in BUDGET_SHARES
    ]


def _open_reasoning_encoder(settings: Settings) -> "MMEmbR1":
    from embedder.mmemb_r1 import MMEmbR1

    encoder = open_encoder(settings.replace(query_budget="", item_budget=""))
    if not isinstance(encoder, MMEmbR1):
        raise ValueError(
            f"the embedder must be one that reasons, got {settings.model!r}; measure it with "
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
) -> dict[str, Sensitivity]:
    from embedder.reasoners.given_rationales import encode_with_rationales

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

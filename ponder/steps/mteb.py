"""Run the configured model on tasks of the `mteb` library."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ponder.settings import Settings
from ponder.steps.progress import Progress, ignore_progress
from ponder.steps.saved_reports import write_report
from ponder.wiring.encoder import budgeted_theta, open_encoder, reasons

if TYPE_CHECKING:
    from embedder.content import Policy
    from evaluation.mteb.evaluation import MtebEvaluation


def evaluate_on_mteb(
    settings: Settings,
    names: Sequence[str],
    policies: "Sequence[Policy]" = (),
    *,
    progress: Progress = ignore_progress,
) -> "MtebEvaluation":
    """Run tasks under each policy and write `mteb.json` to the reports folder.

    A task that was run before, with the same version and data, is not run again.

    Args:
        settings: the deployment; no lake is needed.
        names: as of `evaluation.mteb.tasks.find_tasks`.
        policies: of both sides, in this order; none: all that differ for the configured model,
            which for one that never reasons is `never` alone.
        progress: told how many more texts and images were encoded.

    Raises:
        ValueError: mteb is not installed, or a name stands for no task.
    """
    if find_spec("mteb") is None:
        raise ValueError(
            "mteb must be installed to run its tasks, and is not; install it with: "
            "pip install 'ponder[mteb]'"
        )
    from evaluation.mteb.evaluation import evaluate_tasks

    # A version's id names the policy of items; here it is each in turn.
    by_gate = settings.replace(policy="auto")
    evaluation = evaluate_tasks(
        names,
        open_encoder(by_gate),
        conditions=_conditions(by_gate, policies),
        folder=settings.mteb_folder,
        progress=progress,
    )
    write_report(settings, "mteb", evaluation)
    return evaluation


def _conditions(
    settings: Settings, policies: "Sequence[Policy]"
) -> "dict[Policy, Mapping[str, float]]":
    """Return what besides the version decides about vectors, by policy: a budget of queries."""
    from evaluation.query_evaluation import POLICIES

    if not reasons(settings):
        policies = ("never",)
    theta = budgeted_theta(settings, "query")
    budgeted = {} if theta is None else {"query_theta": theta}
    return {policy: budgeted if policy == "auto" else {} for policy in policies or POLICIES}

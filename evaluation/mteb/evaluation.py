"""Tasks run through the `mteb` library under each policy, with what they cost.

What was run once is not run again: mteb keeps its results by version, policy and task in a folder,
and this module the costs beside them. Nothing leaves the machine.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from embedder.content import CatalogueEncoder, Content, Policy
from evaluation.mteb.costs import Cost, CostFile, total
from evaluation.mteb.encoder import PolicyEncoder
from evaluation.mteb.tasks import find_tasks

if TYPE_CHECKING:
    from mteb.abstasks import AbsTask
    from mteb.cache import ResultCache
    from mteb.results import TaskResult

logger = logging.getLogger(__name__)
BATCH_SIZE = 256  # contents that mteb hands over at once; the encoder makes batches of its own


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskScore:
    """How a version fares at a task under one policy, and what that cost."""

    main_score: float
    """The mean over the task's parts, which is what mteb's tables show."""

    parts: dict[str, float]
    """`split/subset` -> main score."""

    cost: Cost
    path: Path
    """mteb's own JSON of it, with all metrics."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskEvaluation:
    """How a version fares at a task."""

    task: str
    metric: str
    """What the main score is, as mteb calls it: `ndcg_at_10`."""

    policies: dict[Policy, TaskScore]
    error: str = ""
    """Why the task could not be run, or not under each policy; else empty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MtebEvaluation:
    """How a version fares at tasks of mteb's, in the order they were named."""

    model_version: str
    tasks: list[TaskEvaluation]
    means: dict[Policy, float]
    """The mean of the main scores over all tasks; of a policy under which one is missing, none."""


def evaluate_tasks(
    names: Sequence[str],
    encoder: CatalogueEncoder,
    *,
    conditions: Mapping[Policy, Mapping[str, float]],
    folder: Path,
    progress: Callable[[int], None] = lambda done: None,
) -> MtebEvaluation:
    """Run tasks under each policy of `conditions`, queries and documents following it.

    A task that fails, for its data cannot be had, say, does not keep the others from running.

    Args:
        names: as of `find_tasks`.
        encoder: of any kind.
        conditions: policy -> what else decides about vectors, see `PolicyEncoder`.
        folder: where results and costs are kept.
        progress: told how many more contents were encoded.

    Raises:
        ValueError: a name stands for no task; nothing was run then.
    """
    import datasets
    from mteb.cache import ResultCache

    datasets.disable_progress_bars()  # `progress` tells how far it is
    links = folder / "data"
    tasks = [task for name in names for task in find_tasks(name, links=links)]
    encoder.encode_query([Content("the first one takes longer")], policy="always")
    cache = ResultCache(folder)
    done = [_evaluated(task, encoder, conditions, cache, progress) for task in tasks]
    means = {
        policy: float(np.mean([task.policies[policy].main_score for task in done]))
        for policy in conditions
        if all(policy in task.policies for task in done)
    }
    return MtebEvaluation(model_version=encoder.version, tasks=done, means=means)


def _evaluated(
    task: "AbsTask",
    encoder: CatalogueEncoder,
    conditions: Mapping[Policy, Mapping[str, float]],
    cache: "ResultCache",
    progress: Callable[[int], None],
) -> TaskEvaluation:
    name = task.metadata.name
    measured: dict[Policy, TaskScore] = {}
    error = ""
    try:
        for policy, others in conditions.items():
            costs = _Costs(cache, encoder.version, {"policy": policy, **others})
            model = PolicyEncoder(
                encoder, policy, conditions=others, cost_file=costs.of, progress=progress
            )
            result = _result(task, model, cache)
            measured[policy] = _score(task, model, result, costs, cache)
    except Exception as caught:  # of a data set, the hub, a metric: anything
        error = f"{type(caught).__name__}: {caught}".splitlines()[0]
        is_verbose = logger.isEnabledFor(logging.INFO)
        logger.warning("task=%s was not run to its end: %s", name, error, exc_info=is_verbose)
    finally:
        if task.data_loaded:
            task.unload_data()
    return TaskEvaluation(
        task=name, metric=task.metadata.main_score, policies=measured, error=error
    )


def _result(task: "AbsTask", model: PolicyEncoder, cache: "ResultCache") -> "TaskResult":
    """Return mteb's result: what it has kept of the same data, what is missing run now."""
    import mteb

    kept = cache.load_task_result(task.metadata.name, model.mteb_model_meta)
    is_same_data = kept is not None and kept.dataset_revision == task.metadata.revision
    has_all = kept is not None and is_same_data and not kept.get_missing_evaluations(task)
    if not has_all and not task.is_aggregate and not task.data_loaded:
        task.load_data()  # once for all policies: mteb drops what it has loaded itself
    results = mteb.evaluate(
        model,
        task,
        co2_tracker=False,
        cache=cache,
        # mteb itself takes a result that is whole, whatever data it was made of
        overwrite_strategy="only-missing" if is_same_data else "always",
        encode_kwargs={"batch_size": BATCH_SIZE, "show_progress_bar": False},
        show_progress_bar=False,
    )
    return results.task_results[0]


def _score(
    task: "AbsTask",
    model: PolicyEncoder,
    result: "TaskResult",
    costs: "_Costs",
    cache: "ResultCache",
) -> TaskScore:
    parts = {
        f"{split}/{scores['hf_subset']}": float(scores["main_score"])
        for split, of_subsets in result.scores.items()
        for scores in of_subsets
    }
    return TaskScore(
        main_score=float(result.get_score()),
        parts=parts,
        cost=costs.total(task),
        path=cache.get_task_result_path(task.metadata.name, model.mteb_model_meta),
    )


class _Costs:
    """The files of costs of one version under some conditions, each opened once."""

    def __init__(self, cache: "ResultCache", version: str, conditions: Mapping[str, Any]) -> None:
        named = ",".join(f"{name}={value}" for name, value in conditions.items())
        self._folder = Path(cache.cache_path) / "costs" / version / named
        self._opened: dict[str, CostFile] = {}

    def of(self, task: str) -> CostFile:
        if task not in self._opened:
            self._opened[task] = CostFile(self._folder / f"{task}.json")
        return self._opened[task]

    def total(self, task: "AbsTask") -> Cost:
        """Add up a task's cost, of an aggregate that of its tasks."""
        tasks = task.metadata.tasks if task.is_aggregate else [task]
        costs = [self.of(part.metadata.name).total for part in tasks]
        return Cost(query=total(c.query for c in costs), item=total(c.item for c in costs))

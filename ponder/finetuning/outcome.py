"""The stages that end a fine-tune: is the version better, and where is it kept."""

import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedder.pair.version import PAIR
from ponder.finetuning.behaviour import in_behaviour_space
from ponder.finetuning.gathering import AFTER
from ponder.finetuning.options import tables
from ponder.finetuning.promotion import verdict
from ponder.finetuning.results import (
    BalancedSources,
    ComputedFeatures,
    Evaluation,
    FinishedTraining,
    GatheredLikes,
    GatheredPairs,
    JudgedRationales,
    LearnedVocabulary,
    MinedNegatives,
    RegisteredVersion,
    Result,
    SelectedRationales,
    SpaceComparison,
    WrittenRationales,
)
from ponder.finetuning.run import Progress, Run
from ponder.finetuning.training import trained
from ponder.json_form import json_form
from ponder.wiring.encoder import open_model

if TYPE_CHECKING:
    from embedder.content import CatalogueEncoder


class PromotionRefused(RuntimeError):
    """A version must not become the champion; the text lists why."""


def evaluate(run: Run, progress: Progress) -> Evaluation:
    """Hold the new version against the champion on the frozen sets, and judge: stage `evaluate`.

    Where there is no champion yet, the base stands in for it; where that is `pair:`, the configured
    model does.

    Raises:
        ValueError: an evaluation set has changed.
    """
    from embedder.mmemb_r1 import EmbedderConfig
    from ponder.finetuning.comparison import compare
    from ponder.finetuning.frozen_set import read_frozen_set

    settings, registry = run.settings, run.registry
    candidate, served = (
        open_model(
            EmbedderConfig(
                model=model,
                device=settings.device,
                dtype=settings.dtype,
                policy=settings.policy,
            )
        )
        for model in (str(run.version(trained(run))), _opponent(run))
    )
    report = {
        name: compare(
            read_frozen_set(run.sets_folder / name),
            candidate,
            served,
            policy=settings.policy,
            seed=run.config.seed,
            progress=progress,
        )
        for name in _sets(run)
    }
    judged = verdict(report, settings.promotion)
    return Evaluation(
        promoted=judged.promoted,
        checks=judged.checks,
        thresholds=asdict(settings.promotion),
        champion=served.version,
        opponent=registry.champion(),
        sets=report,
        behaviour=_behaviour(run, candidate, served, progress),
    )


def _opponent(run: Run) -> str:
    """Return the model that the version must be better than, as `embedder` calls it."""
    if run.registry.champion():
        return str(run.registry.path("champion"))
    # Encoders without heads answer nothing: what is served then is what there is to be better than.
    is_mute = run.config.base.startswith(PAIR)
    return run.registry.model(run.settings.model) if is_mute else run.given_base


def _behaviour(
    run: Run, candidate: "CatalogueEncoder", champion: "CatalogueEncoder", progress: Progress
) -> dict[str, SpaceComparison]:
    """Measure the candidate's behaviour space on what users did later; empty when it has none.

    It is told and not judged: promotion is about the space that is served.
    """
    from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
    from ponder.finetuning.frozen_set import read_frozen_set
    from ponder.finetuning.space_comparison import compare_spaces

    config = EmbedderConfig(device=run.settings.device, policy="never")
    own, other = (
        in_behaviour_space(one.checkpoint) if isinstance(one, MMEmbR1) else None
        for one in (candidate, champion)
    )
    if own is None:
        return {}
    others: dict[str, CatalogueEncoder] = {"content": candidate}
    if other is not None:
        others["champion"] = MMEmbR1(other, config)
    return {
        name: compare_spaces(
            read_frozen_set(run.sets_folder / name),
            MMEmbR1(own, config),
            others,
            seed=run.config.seed,
            progress=progress,
        )
        for name in _sets(run)
        if name.startswith(AFTER)
    }


def _sets(run: Run) -> tuple[str, ...]:
    return run.result("pairs", GatheredPairs).sets


def register(run: Run, progress: Progress) -> RegisteredVersion:
    """Put the version with its lineage into the registry: stage `register`; the champion stays."""
    name = run.registry.add(run.version(trained(run)), lineage=lineage(run))
    progress(1)
    return RegisteredVersion(name=name, path=str(run.registry.path(name)))


def promote(run: Run) -> str:
    """Make the run's version the champion, and return its name.

    Raises:
        PromotionRefused: the rules speak against it, or the champion is not the one any more that
            it was compared with.
    """
    evaluation = run.result("evaluate", Evaluation)
    name, present = run.result("register", RegisteredVersion).name, run.registry.champion()
    if present not in (evaluation.opponent, name):
        raise PromotionRefused(
            f"{name} must be compared with the present champion, {present}, and was "
            f"with {evaluation.opponent or 'its base'}; remove {run.folder / 'evaluate'} and run "
            "it again"
        )
    if not evaluation.promoted:
        reasons = [check.says for check in evaluation.checks if not check.passed]
        raise PromotionRefused(f"{name} is not promoted: " + "; ".join(reasons))
    run.registry.promote(name)
    return name


TOLD: Mapping[str, type[Result]] = {
    "pairs": GatheredPairs,
    "vocabulary": LearnedVocabulary,
    "balance": BalancedSources,
    "negatives": MinedNegatives,
    "behaviour": GatheredLikes,
    "rationales": WrittenRationales,
    "judging": JudgedRationales,
    "selection": SelectedRationales,
    "features": ComputedFeatures,
    "joint": FinishedTraining,
    "embedding_head": FinishedTraining,
    "fresh_negatives": MinedNegatives,
    "gate": FinishedTraining,
}
"""Stages whose results belong to a version's lineage."""


def lineage(run: Run) -> dict[str, Any]:
    """Return where the version comes from: enough to make it again, and why it was trusted.

    `recipe` names where the values came from, `config` has them all.
    """
    from embedder.identity import base_version

    evaluation = json_form(run.result("evaluate", Evaluation))
    sets = {name: one["digest"] for name, one in evaluation["sets"].items()}
    told = ("promoted", "checks", "thresholds", "champion", "behaviour")
    return {
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "base": base_version(run.given_base),
        "code": {"ponder": installed("ponder"), "commit": _commit()},
        "recipe": run.config.recipe,
        "config": json_form(tables(run.config)),
        "stages": {name: json_form(run.result(name, kind)) for name, kind in TOLD.items()},
        "evaluation": {name: evaluation[name] for name in told} | {"sets": sets},
    }


def _commit() -> str | None:
    """Return the checkout's commit; None where the code is installed without one."""
    here = Path(__file__).parent
    asked = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or None

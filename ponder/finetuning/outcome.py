"""The stages that end a fine-tune: is the version better, and where is it kept."""

import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ponder.finetuning.behaviour import in_behaviour_space, is_learnt
from ponder.finetuning.gathering import AFTER
from ponder.finetuning.promotion import verdict
from ponder.finetuning.run import Counts, Progress, Run
from ponder.finetuning.training import trained

if TYPE_CHECKING:
    from embedder.mmemb_r1 import MMEmbR1


class PromotionRefused(RuntimeError):
    """A version must not become the champion; the text lists why."""


def evaluate(run: Run, progress: Progress) -> Counts:
    """Stage `evaluate`: the new version against the champion on the frozen sets, and the verdict.

    Where there is no champion yet, the base stands in for it.

    Raises:
        ValueError: an evaluation set has changed.
    """
    from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
    from ponder.finetuning.comparison import compare
    from ponder.finetuning.frozen_set import read_frozen_set

    settings, registry = run.settings, run.registry
    champion = str(registry.path("champion")) if registry.champion() else run.base
    candidate, served = (
        MMEmbR1.open(EmbedderConfig(model=model, device=settings.device, policy=settings.policy))
        for model in (str(run.version(trained(run))), champion)
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
    return {
        "promoted": judged.promoted,
        "checks": [asdict(check) for check in judged.checks],
        "thresholds": asdict(settings.promotion),
        "champion": served.version,
        "opponent": registry.champion(),
        "sets": report,
        "behaviour": _behaviour(run, candidate, served, progress),
    }


def _behaviour(
    run: Run, candidate: "MMEmbR1", champion: "MMEmbR1", progress: Progress
) -> dict[str, Any]:
    """The candidate's behaviour space on what users did later; empty when it has none.

    It is told and not judged: promotion is about the space that is served.
    """
    from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
    from ponder.finetuning.frozen_set import read_frozen_set
    from ponder.finetuning.space_comparison import compare_spaces

    config = EmbedderConfig(device=run.settings.device, policy="never")
    own, other = (in_behaviour_space(one.checkpoint) for one in (candidate, champion))
    if own is None:
        return {}
    others = {"content": candidate}
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


def _sets(run: Run) -> list[str]:
    pairs = run.done("pairs")
    assert pairs is not None
    names: list[str] = pairs["sets"]
    return names


def register(run: Run, progress: Progress) -> Counts:
    """Stage `register`: the version with its lineage in the registry; the champion stays."""
    name = run.registry.add(run.version(trained(run)), lineage=lineage(run))
    progress(1)
    return {"name": name, "path": str(run.registry.path(name))}


def promote(run: Run) -> Counts:
    """Makes the run's version the champion.

    Raises:
        PromotionRefused: the rules speak against it, or the champion is not the one any more that
            it was compared with.
    """
    judged, registered = run.done("evaluate"), run.done("register")
    assert judged is not None
    assert registered is not None
    present = run.registry.champion()
    if present not in (judged["opponent"], registered["name"]):
        raise PromotionRefused(
            f"{registered['name']} must be compared with the present champion, {present}, and was "
            f"with {judged['opponent'] or 'its base'}; remove {run.folder / 'evaluate'} and run it "
            "again"
        )
    if not judged["promoted"]:
        reasons = [check["says"] for check in judged["checks"] if not check["passed"]]
        raise PromotionRefused(f"{registered['name']} is not promoted: " + "; ".join(reasons))
    return {"champion": registered["name"], "before": run.registry.promote(registered["name"])}


def lineage(run: Run) -> dict[str, Any]:
    """Where the version comes from: enough to make it again, and to know why it was trusted."""
    from embedder.version import configured_version, read_manifest

    told = ("pairs", "negatives", "behaviour", "rationales", "selection", "fresh_negatives")
    judged = run.done("evaluate")
    assert judged is not None
    configs = {"joint": asdict(run.config.joint())}
    if is_learnt(run):
        dims = read_manifest(run.version("joint")).dims
        configs["behaviour"] = asdict(run.config.collaborative(dims))
    if run.config.gate_steps:
        configs["gate"] = asdict(run.config.gate())
    return {
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "base": configured_version(run.base, "auto"),
        "code": {"ponder": installed("ponder"), "commit": _commit()},
        "config": asdict(run.config),
        "stages": configs,
        **{name: run.done(name) for name in told},
        "evaluation": {
            "promoted": judged["promoted"],
            "checks": judged["checks"],
            "thresholds": judged["thresholds"],
            "champion": judged["champion"],
            "sets": {name: one["digest"] for name, one in judged["sets"].items()},
            "behaviour": judged["behaviour"],
        },
    }


def _commit() -> str | None:
    """The checkout's commit; None where the code is installed without one."""
    here = Path(__file__).parent
    asked = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or None

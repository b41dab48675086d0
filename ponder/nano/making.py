"""Make nano again: it grows up on the bazaar, goes to school, and is fine-tuned as any base is.

    pretrained/   trained from scratch on the curriculum (`embedder.nano.training`)
    data/         what it is taught next, as folders that `ponder finetune` takes
    school/       the run of recipe `school`: words, facts and sums, never a riddle
    finetune/     the run of the default recipe: rationales, selection, joint training, gate
    nano-base/    the version that school leaves, and
    nano/         the one that the fine-tune leaves, each with its lineage in `manifest.json`

A killed making goes on where it was.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ponder.finetuning.recipes import configured
from ponder.finetuning.results import RegisteredVersion
from ponder.finetuning.run import Progress, Run
from ponder.finetuning.stages import STAGES, run_stage
from ponder.nano.riddle_pairs import training_pairs
from ponder.nano.school import write_school
from ponder.nano.writers import write_riddles
from ponder.settings import Settings

SCRATCH = "scratch"
BASE = "nano-base"

GIVEN_ALONE: Mapping[str, object] = {"pairs.sources": ("given",), "rationales.num_drawn": 0}
"""What is learned from and who writes: the folder's own pairs and rationales, and nothing else."""

MIX = "medium"


@dataclass(frozen=True, kw_only=True, slots=True)
class NanoConfig:
    """What nano is made from, and how much of everything there is."""

    start: str = BASE
    """`nano-base` or another version that went to school, or `scratch`."""

    seed: int = 0
    """Of the fine-tune and its riddles; what comes before has seed 0."""

    num_riddles: int = 6_000

    pretraining_steps: int = 3_600
    """Of what is trained from scratch."""

    school_changes: Mapping[str, object] = field(default_factory=dict)
    """Other values than the recipe `school`'s, by option."""

    changes: Mapping[str, object] = field(default_factory=dict)
    """Other values than the default recipe's, by option."""


def make_nano(
    settings: Settings,
    folder: Path,
    config: NanoConfig,
    *,
    progress: Progress = lambda done: None,
) -> Path:
    """Make what is missing in a folder, and return that of the fine-tuned version.

    Args:
        settings: the deployment's, of which the device counts; its registry is left alone.
        folder: of everything that is made.
        config: what to make.
        progress: told how much more is done, in units of the stages.
    """
    own = settings.replace(home=folder, artifacts="", lake="", lake_options={})
    base = config.start
    if base == SCRATCH:
        base = str(_base(own, config, progress))
    data = folder / "data" / "riddles"
    if not (data / "items.parquet").exists():
        pairs = training_pairs(config.num_riddles, seed=config.seed)
        write_riddles(data, pairs, MIX, seed=config.seed)
    told = {"base": base, "data": str(data), "name": "nano", "seed": config.seed}
    told |= {"half_precision": True, **GIVEN_ALONE, **config.changes}
    run = Run.open(own, configured(told), folder / "finetune")
    return _registered(run, folder / "nano", progress)


def write_base_data(folder: Path) -> Path:
    """Write what school teaches, unless it is there; return the folder."""
    if not (folder / "items.parquet").exists():
        write_school(folder)
    return folder


def _base(settings: Settings, config: NanoConfig, progress: Progress) -> Path:
    """Make the version that school leaves."""
    folder = settings.home
    data = write_base_data(folder / "data" / "school")
    told = {
        "base": str(_pretrained(folder / "pretrained", config.pretraining_steps)),
        "data": str(data),
        "name": BASE,
        "pairs.sources": ("given",),
        **config.school_changes,
    }
    run = Run.open(settings, configured(told, recipe="school"), folder / "school")
    return _registered(run, folder / BASE, progress)


def _pretrained(folder: Path, num_steps: int) -> Path:
    from embedder.nano.training import nano_config, nano_trainer, train

    checkpoint = folder / "checkpoint"
    if not (checkpoint / "manifest.json").exists():
        config = nano_config(num_steps=num_steps, learning_rate=2e-3, seed=0)
        train(nano_trainer(config, batch_size=64), folder, eval_every=100)
    return checkpoint


def _registered(run: Run, folder: Path, progress: Progress) -> Path:
    """Run all stages, and copy the version to a folder; its lineage names no place on this machine.

    What a run was told as a path lies below the folder's parent, and is told as it lies there.
    """
    for name in STAGES:
        run_stage(run, name, progress=progress)
    found = run.result("register", RegisteredVersion)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(found.path, folder)
    manifest = folder / "manifest.json"
    values = json.loads(manifest.read_text())
    told = values["lineage"]["config"]
    for name in ("base", "data"):
        if Path(told[name]).is_relative_to(folder.parent):
            told[name] = str(Path(told[name]).relative_to(folder.parent))
    manifest.write_text(json.dumps(values, indent=2) + "\n")
    return folder

"""The fine-tunes of the reasoning benchmark: runs of the product, each in the folder of its cell.

A run takes over the first stages of another one by links to their folders: an ablation of the gate
starts from the joint model that `adaptive` starts from, and judges nothing anew.
"""

import random
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import polars as pl

from bench.reasoning_variants import TRAININGS
from bench.reasoning_world import WorldSize, world
from ponder.finetuning.recipes import configured
from ponder.finetuning.run import Run
from ponder.finetuning.stages import STAGES, run_stage
from ponder.nano.making import BASE, GIVEN_ALONE
from ponder.nano.riddle_pairs import Asked, paired
from ponder.nano.writers import write_riddles
from ponder.settings import Settings


class Runs:
    """Opens and runs the fine-tunes of a benchmark's folder; worlds are made once."""

    def __init__(
        self,
        folder: Path,
        size: WorldSize,
        *,
        changes: Mapping[str, object],
        device: str,
    ) -> None:
        """Load nothing yet.

        Args:
            folder: of the benchmark.
            size: of the world.
            changes: of the recipe `reasoning`, for all trainings.
            device: a torch device.
        """
        self._folder, self._changes = folder, changes
        self._settings = Settings(home=folder, device=device)
        self.world = cache(lambda seed: world(seed, size))

    def trained(self, training: str, mix: str, seed: int) -> Run:
        """Return the run of a training, its version made; what is done is not done again."""
        which = TRAININGS[training]
        run = self._opened(training, mix, seed)
        if which.is_shuffled:
            _deal_out(run, seed=seed)
        _run_to(run, which.last)
        return run

    def judged_questions(self, mix: str, seed: int) -> tuple[dict[str, Asked], Run]:
        """Return the test questions by pair_id, and a run that has judged rationales for them.

        Nothing is trained on them: the run ends with selection.
        """
        rng = random.Random(f"gains/{seed}")
        asked = {
            f"t{number:05d}": paired(f"t{number:05d}", riddle, rng)
            for number, riddle in enumerate(self.world(seed).questions)
        }
        place = f"{mix}/seed{seed}"
        data = self._folder / "data" / "questions" / place
        if not (data / "items.parquet").exists():
            write_riddles(data, [*asked.values()], mix, seed=seed)
        changes = {"joint.batch_size": 1, "gate": None}  # a source must have a batch of pairs
        run = self._run(self._folder / place / "questions", data, seed, changes)
        _run_to(run, "selection")
        return asked, run

    def _opened(self, training: str, mix: str, seed: int) -> Run:
        """Return the run, with what it takes over from its parent's in place."""
        which = TRAININGS[training]
        place = f"{mix}/seed{seed}"
        data = self._folder / "data" / place
        if not (data / "items.parquet").exists():
            written = mix if which.has_rationales else None
            write_riddles(data, self.world(seed).asked, written, seed=seed)
        run = self._run(self._folder / place / training, data, seed, which.changes)
        if which.parent:
            parent = self._opened(which.parent, mix, seed)
            _run_to(parent, which.shared)
            names = list(STAGES)
            for name in ("data", *names[: names.index(which.shared) + 1]):
                _link(parent.folder / name, run.folder / name)
        return run

    def _run(self, folder: Path, data: Path, seed: int, changes: Mapping[str, object]) -> Run:
        told = {"base": BASE, "data": str(data), "seed": seed}
        config = configured({**GIVEN_ALONE, **self._changes, **told, **changes})
        return Run.open(self._settings, config, folder)


def _run_to(run: Run, last: str) -> None:
    for name in STAGES:
        run_stage(run, name)
        if name == last:
            return


def _link(of_parent: Path, own: Path) -> None:
    if not own.exists():
        own.symlink_to(of_parent.resolve(), target_is_directory=True)


def _deal_out(run: Run, *, seed: int) -> None:
    """Give the rationales that selection kept to other pairs, once: in a circle of those pairs."""
    folder = run.folder / "selection"
    if not folder.is_symlink():
        return
    selected = pl.read_parquet(folder / "selected.parquet")
    pair_ids = [pair.pair_id for pair in run.pairs]
    done = (folder / "done.json").read_text()
    folder.unlink()
    folder.mkdir()
    shuffled(selected, pair_ids, seed=seed).write_parquet(folder / "selected.parquet")
    (folder / "done.json").write_text(done)


def shuffled(selected: pl.DataFrame, pair_ids: list[str], *, seed: int) -> pl.DataFrame:
    """Return the kept rows under other pair_ids: those that have some hand theirs on in a circle.

    Args:
        selected: a run's `selected.parquet`.
        pair_ids: of all pairs, in their order.
        seed: of the circle.
    """
    kept = selected.filter("kept")
    with_any = set(kept["pair_id"])
    having = [pair_id for pair_id in pair_ids if pair_id in with_any]
    random.Random(f"shuffle/{seed}").shuffle(having)
    taker_of = dict(zip(having[1:] + having[:1], having, strict=True))
    return kept.with_columns(pl.col("pair_id").replace_strict(taker_of, return_dtype=pl.String))

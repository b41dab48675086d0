"""One fine-tune on disk: its configuration, its data, and which stages are done.

config.json              what was asked
data/                    a lake of its own, when the data is a folder
<stage>/                 what a stage leaves
<stage>/done.json        what there is to say of it; written last, so it is there when all is
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from catalog.atomic_file import write_atomically
from catalog.lake.lake import Lake
from catalog.lake.tables import EVENTS, ITEMS, MEDIA
from embedder.pair.version import IMAGE, PAIR, TEXT, is_pair, pair_models
from embedder.version import has_embedding_head
from ponder.finetuning.config import LAKE, FinetuneConfig
from ponder.finetuning.judges import endpoint_of
from ponder.finetuning.recipes import configured, recipe_of
from ponder.finetuning.results import GatheredPairs, R, Result, from_json
from ponder.finetuning.run_config import keep_config, read_config
from ponder.json_form import to_json
from ponder.registry import Registry
from ponder.settings import Settings
from ponder.wiring.stores import open_lake

if TYPE_CHECKING:
    from embedder.content import Content
    from embedder.finetune.data.pairs import Pair
    from embedder.finetune.training.distributed import Processes
    from embedder.model.checkpoint import Checkpoint

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Run:
    """A fine-tune in its folder; opened anew, it goes on."""

    settings: Settings
    config: FinetuneConfig
    folder: Path

    processes: "Processes | None" = None
    """The processes that run it together, in one folder; None: this one alone."""

    @classmethod
    def open(
        cls,
        settings: Settings,
        config: FinetuneConfig,
        folder: Path,
        *,
        processes: "Processes | None" = None,
    ) -> "Run":
        """Open the run of a folder, which is created when missing.

        Raises:
            ValueError: it was started with another configuration.
        """
        run = cls(settings, config, folder, processes)
        if run.is_first:
            keep_config(config, folder)
        return run

    @classmethod
    def start(
        cls,
        settings: Settings,
        folder: Path,
        *,
        recipe: str = "",
        base: str | None = None,
        changes: Mapping[str, object],
        processes: "Processes | None" = None,
    ) -> "Run":
        """Return the run that was asked for, or go on with the one of the folder.

        Args:
            settings: the deployment's.
            folder: of the run.
            recipe: its name or file; empty: that of the run, or what fits the base's size.
            base: what to start from; None: what the run started from, whoever is the champion now,
                or the champion, or the configured model.
            changes: other values by option.
            processes: those that run it together; None: this one alone.

        Raises:
            ValueError: an option, value or recipe is none, the run was started with others, or the
                recipe is for another kind of base.
        """
        earlier = read_config(folder)
        start = base or (earlier.base if earlier else settings.finetune_base)
        if not recipe and earlier:
            recipe = earlier.recipe
        if not recipe:
            recipe = recipe_of(settings.registry.model(start))
        config = configured({"base": start, **changes}, recipe=recipe)
        if config.judging.kind == "endpoint":
            endpoint_of(settings, config.judging)  # refused now and not after hours of writing
        cls(settings, config, folder)._check_base()
        return cls.open(settings, config, folder, processes=processes)

    def _check_base(self) -> None:
        """Refuse a recipe that is for another kind of base.

        Raises:
            ValueError: it is.
        """
        base, recipe = self.config.base, self.config.recipe
        if (self.config.heads is None) != (self.frozen_models is None):
            raise ValueError(
                f"heads are trained over frozen encoders and over nothing else, got base {base!r} "
                f"and recipe {recipe!r}; use the recipe `pair` with a base {PAIR}TEXT,IMAGE or one "
                "that it has made, and another recipe with other bases"
            )
        if self.config.embedding_head is None and has_embedding_head(Path(self.given_base)):
            raise ValueError(
                "the reasoner below an embedding head is not trained with contrast, got base "
                f"{base!r}, which has such a head, and recipe {recipe!r}; use the recipe "
                "`unified`, or another base"
            )

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes, and does what only one can do."""
        return self.processes is None or self.processes.is_first

    def wait(self) -> None:
        """Wait until every process has come here."""
        if self.processes is not None:
            self.processes.wait()

    def done(self, stage: str, kind: type[R]) -> R | None:
        """Return what a stage left to say; None while it is not done.

        Args:
            stage: its name.
            kind: of its result.
        """
        path = self.folder / stage / "done.json"
        return from_json(kind, json.loads(path.read_text())) if path.exists() else None

    def result(self, stage: str, kind: type[R]) -> R:
        """Return what a stage left to say, which is done."""
        found = self.done(stage, kind)
        assert found is not None, f"{stage} is not done"
        return found

    def is_done(self, stage: str) -> bool:
        """Return whether a stage is done."""
        return (self.folder / stage / "done.json").exists()

    def finish(self, stage: str, result: Result) -> None:
        """Record that a stage is done."""
        write_atomically(self.folder / stage / "done.json", to_json(result, indent=1) + "\n")

    @property
    def registry(self) -> Registry:
        """Of the deployment."""
        return self.settings.registry

    @property
    def sets_folder(self) -> Path:
        """Where the deployment's frozen evaluation sets are."""
        return self.settings.evaluation_folder

    @property
    def data_settings(self) -> Settings:
        """The deployment whose lake holds the data: the run's own for a folder."""
        if self.config.data == LAKE:
            return self.settings
        own = self.folder / "data"
        return self.settings.replace(home=own, artifacts="", lake="", lake_options={})

    @property
    def lake(self) -> Lake:
        """Where items, events and rationales are."""
        return open_lake(self.data_settings)

    @cached_property
    def read_at(self) -> datetime:
        """The moment that all stages read the lake at, so that they learn from the same."""
        return datetime.fromisoformat(self.result("pairs", GatheredPairs).read_at)

    @cached_property
    def items(self) -> pl.DataFrame:
        """Rows of `items` at that moment."""
        return self.lake.read(ITEMS, as_of=self.read_at)

    @cached_property
    def contents(self) -> "dict[str, Content]":
        """The living items by id, with every image in memory."""
        from ponder.finetuning.pair_sources import contents_of

        media = self.lake.read(MEDIA, as_of=self.read_at)
        return contents_of(self.items, dict(zip(media["hash"], media["bytes"], strict=True)))

    @cached_property
    def pairs(self) -> "list[Pair]":
        """The pairs to learn from, without hard negatives."""
        from embedder.finetune.data.pair_rows import read_pairs

        rows = pl.read_parquet(self.folder / "pairs" / "pairs.parquet")
        return read_pairs(rows, self.contents).pairs

    @property
    def events(self) -> pl.DataFrame:
        """Rows of `events`, of any time."""
        return self.lake.read(EVENTS)

    @property
    def base(self) -> str:
        """The model that is trained, as `embedder` calls it: with new tokens, where it has some."""
        extended = self.version("vocabulary")
        is_whole = (extended / "manifest.json").exists()  # written last
        return str(extended) if is_whole else self.given_base

    @property
    def given_base(self) -> str:
        """The model that the run was given to start from, as `embedder` calls it."""
        return self.registry.model(self.config.base)

    @property
    def frozen_models(self) -> tuple[str, str] | None:
        """The text encoder and the image encoder that heads are trained over; None: there are none.

        A version that a run has left holds them, and heads to go on from.
        """
        if self.config.base.startswith(PAIR):
            return pair_models(self.config.base)
        folder = Path(self.given_base)
        return (str(folder / TEXT), str(folder / IMAGE)) if is_pair(folder) else None

    @property
    def data_folder(self) -> Path:
        """Where the files lie that `given` reads: the data folder, or the home for the lake."""
        is_lake = self.config.data == LAKE
        return self.settings.home if is_lake else Path(self.config.data)

    def load(self, model: str | Path) -> "Checkpoint":
        """Load a checkpoint on the deployment's device."""
        from embedder.model.checkpoint import load

        return load(str(model), device=self.settings.device)

    def version(self, stage: str) -> Path:
        """Return the version folder that a training stage leaves."""
        return self.folder / stage / "version"

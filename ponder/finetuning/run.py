"""One fine-tune on disk: its configuration, its data, and which stages are done.

config.json              what was asked
data/                    a lake of its own, when the data is a folder
<stage>/                 what a stage leaves
<stage>/done.json        what there is to say of it; written last, so it is there when all is
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from catalog.atomic_file import write_atomically
from catalog.lake.lake import Lake
from catalog.lake.tables import EVENTS, ITEMS, MEDIA
from ponder.finetuning.config import LAKE, FinetuneConfig, keep_config
from ponder.registry import Registry
from ponder.settings import Settings
from ponder.wiring import open_lake

if TYPE_CHECKING:
    from embedder.content import Content
    from embedder.finetune.data.pairs import Pair
    from embedder.finetune.training.distributed import Processes
    from embedder.model.checkpoint import Checkpoint

Counts = dict[str, Any]
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
        """The run of a folder, which is created when missing.

        Raises:
            ValueError: it was started with another configuration.
        """
        run = cls(settings, config, folder, processes)
        if run.is_first:
            keep_config(config, folder)
        return run

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes, and does what only one can do."""
        return self.processes is None or self.processes.is_first

    def wait(self) -> None:
        """Returns when every process has come here."""
        if self.processes is not None:
            self.processes.wait()

    @staticmethod
    def base_of(folder: Path) -> str | None:
        """What the run of a folder started from; None where none was started."""
        path = folder / "config.json"
        return json.loads(path.read_text())["base"] if path.exists() else None

    def done(self, stage: str) -> Counts | None:
        """What a stage left to say; None while it is not done."""
        path = self.folder / stage / "done.json"
        return json.loads(path.read_text()) if path.exists() else None

    def finish(self, stage: str, counts: Counts) -> None:
        """Records that a stage is done."""
        path = self.folder / stage / "done.json"
        write_atomically(path, json.dumps(counts, indent=1) + "\n")

    @property
    def registry(self) -> Registry:
        """Of the deployment."""
        return self.settings.registry

    @property
    def sets_folder(self) -> Path:
        """Where the deployment's frozen evaluation sets are."""
        return self.settings.home / "evaluation"

    @property
    def data_settings(self) -> Settings:
        """The deployment whose lake holds the data: the run's own for a folder."""
        if self.config.data == LAKE:
            return self.settings
        return self.settings.replace(home=self.folder / "data", lake="", lake_options={})

    @property
    def lake(self) -> Lake:
        """Where items, events and rationales are."""
        return open_lake(self.data_settings)

    @cached_property
    def read_at(self) -> datetime:
        """The moment that all stages read the lake at, so that they learn from the same."""
        pairs = self.done("pairs")
        assert pairs is not None
        return datetime.fromisoformat(pairs["read_at"])

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
        """The model that is trained, as `embedder` calls it."""
        return self.registry.model(self.config.base)

    def load(self, model: str | Path) -> "Checkpoint":
        """A checkpoint on the deployment's device."""
        from embedder.model.checkpoint import load

        return load(str(model), device=self.settings.device)

    def version(self, stage: str) -> Path:
        """The version folder that a training stage leaves."""
        return self.folder / stage / "version"

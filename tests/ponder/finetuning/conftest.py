"""Nano fine-tuned on a tiny bazaar, killed on the way; once, for all that look at it."""

import shutil

import pytest

from embedder.version import SHIPPED
from ponder.finetuning.recipes import configured
from ponder.finetuning.run import Run
from ponder.finetuning.short_options import short_changes
from ponder.finetuning.stages import STAGES, run_stage
from ponder.settings import Settings
from tests.ponder.finetuning.tiny_run import ANYTHING, CHANGES, GIVEN, REFUSED, Killed, killed_after


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return Settings(home=tmp_path_factory.mktemp("home"), shard_size=60, promotion=ANYTHING)


@pytest.fixture(scope="module")
def config(bazaar):
    return configured(short_changes(GIVEN | {"data": str(bazaar)}) | CHANGES, recipe="gentle")


@pytest.fixture(scope="module")
def finished(settings, config):
    """A run that was killed within three stages, and went on each time in another process."""
    folder = settings.home / "finetune" / "killed"
    for stage in STAGES:
        if stage in ("rationales", "joint", "evaluate"):
            with pytest.raises(Killed):
                run_stage(Run.open(settings, config, folder), stage, progress=killed_after(2))
            assert not Run.open(settings, config, folder).is_done(stage)
        if stage == "joint":
            shutil.copytree(folder, settings.home / "finetune" / "before_joint")
        run_stage(Run.open(settings, config, folder), stage)
    return Run.open(settings, config, folder)


@pytest.fixture(scope="module")
def refused(settings, tmp_path_factory):
    """A registered version whose evaluation was against it."""
    folder = tmp_path_factory.mktemp("refused") / "nano"
    shutil.copytree(SHIPPED["nano"], folder)
    return settings.registry.add(folder, lineage=REFUSED)

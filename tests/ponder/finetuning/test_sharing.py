"""Tests for ponder/finetuning/sharing.py: a killed stage goes on on another machine."""

import logging
from dataclasses import replace

import pytest

from ponder.finetuning.results import LearnedVocabulary
from ponder.finetuning.run import Run
from ponder.finetuning.sharing import shared_run
from ponder.finetuning.stages import STAGES, run_stage
from ponder.settings import Settings
from tests.ponder.finetuning.tiny_run import Killed


@pytest.fixture
def machine(tmp_path):
    """Makes machines with homes of their own and one store, to which a save goes at once."""
    (tmp_path / "store").mkdir()

    def make(name):
        store = f"file://{tmp_path / 'store'}"
        return Settings(home=tmp_path / name, artifacts=store, commit_every_s=1e-9)

    return make


def counting(monkeypatch, *, killed_at):
    """A stage in place of a real one: counts to five, saves each number, and may be killed."""
    counted = []
    monkeypatch.setattr("ponder.finetuning.sharing.MAX_SHARE", 1e9)  # it may take all of the time

    def count(run, progress):
        state = run.folder / "vocabulary" / "state"
        state.parent.mkdir(parents=True, exist_ok=True)
        for number in range(int(state.read_text()) if state.exists() else 0, 5):
            if number == killed_at:
                raise Killed
            counted.append(number)
            state.write_text(str(number + 1))
            progress(1)
        return LearnedVocabulary(new_tokens=5)

    monkeypatch.setitem(STAGES, "vocabulary", replace(STAGES["vocabulary"], function=count))
    return counted


def run_of(settings, *, folder=None):
    return Run(settings, None, folder or settings.finetunes_folder / "run")


def test_a_stage_that_was_killed_outright_goes_on_on_another_machine(machine, monkeypatch):
    counting(monkeypatch, killed_at=3)
    with pytest.raises(Killed):  # without `shared_run`, whose end a killed process never reaches
        run_stage(run_of(machine("first")), "vocabulary")
    counted = counting(monkeypatch, killed_at=None)
    run = run_of(machine("second"))
    with shared_run(run.settings, run.folder):
        assert run_stage(run, "vocabulary").new_tokens == 5
    assert counted == [3, 4]
    third = run_of(machine("third"))
    with shared_run(third.settings, third.folder):
        assert third.is_done("vocabulary")


def test_a_run_elsewhere_is_not_brought_to_the_store(machine, monkeypatch, tmp_path):
    counting(monkeypatch, killed_at=None)
    run_stage(run_of(machine("first"), folder=tmp_path / "mine"), "vocabulary")
    assert list((tmp_path / "store").iterdir()) == []


def test_a_store_that_takes_nothing_does_not_stop_a_stage(machine, monkeypatch, tmp_path, caplog):
    counted = counting(monkeypatch, killed_at=None)
    (tmp_path / "store" / "finetune").write_text("no folder can be made here")
    with caplog.at_level(logging.WARNING):
        run_stage(run_of(machine("first")), "vocabulary")
    assert counted == [0, 1, 2, 3, 4]
    assert "stays on this machine for now" in caplog.text

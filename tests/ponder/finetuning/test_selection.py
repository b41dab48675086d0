"""Tests for ponder/finetuning/selection.py: who writes what counts for nothing is warned of."""

import json
import logging

import pytest

from embedder.content import Content
from embedder.finetune.data.pairs import Pair
from embedder.reasoners.reasoner import Rationale
from ponder.finetuning.data_folder import Example, write_data
from ponder.finetuning.recipes import configured
from ponder.finetuning.run import Run
from ponder.finetuning.stages import run_stage
from ponder.settings import Settings

NAMES = [f"{colour} {noun}" for colour in ("red", "blue", "green") for noun in ("mug", "kite")]
STAGES = ("pairs", "vocabulary", "balance", "negatives", "behaviour", "rationales", "judging")


def example(number, name):
    """A pair with a writer that names what is wanted, and one that says the same of everything."""
    pair = Pair(Content(name), Content(f"a {name}"), name, name, pair_id=f"p{number}")
    told = {
        "names": Rationale(f"a {name} is asked for", name),
        "says nothing": Rationale("nothing has to be inferred", "what is asked for"),
    }
    return Example(pair, told)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    home = tmp_path_factory.mktemp("selection")
    write_data(home / "data", [example(n, name) for n, name in enumerate(NAMES)])
    told = {"base": "nano", "data": str(home / "data"), "pairs.sources": ("given",)}
    config = configured({**told, "rationales.num_drawn": 0, "joint.batch_size": 4, "gate": None})
    run = Run.open(Settings(home=home, device="cpu"), config, home / "run")
    for name in STAGES:
        run_stage(run, name)
    return run


def test_a_writer_whose_rationales_are_no_better_than_anothers_is_warned_of(run, caplog):
    with caplog.at_level(logging.WARNING, logger="ponder.finetuning.selection"):
        run_stage(run, "selection")
    (warning,) = caplog.messages
    assert "says nothing" in warning
    assert "50 % of 6 that do" in warning
    rows = json.loads((run.folder / "selection" / "selection.json").read_text())["workers"]
    own_better = {row["worker"]: (row["compared"], row["own_better"]) for row in rows}
    assert own_better == {"names": (6, 1.0), "says nothing": (6, 0.5)}

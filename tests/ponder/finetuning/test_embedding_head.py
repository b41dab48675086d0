"""Tests for a fine-tune that splits: a reasoner first, then an embedding head over it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from embedder.content import Content
from embedder.finetune.data.pairs import Pair
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from embedder.reasoners.reasoner import Rationale
from embedder.version import has_embedding_head
from ponder.finetuning.data_folder import Example, write_data
from ponder.finetuning.recipes import configured, recipe_of
from ponder.finetuning.results import FinishedTraining
from ponder.finetuning.run import Run
from ponder.finetuning.stages import STAGES, run_stage
from ponder.finetuning.training import num_steps, trained
from ponder.settings import Settings

SMALL = {
    "pairs.sources": ("given",),
    "rationales.num_drawn": 0,
    "negatives.num_mined": 0,
    "selection.keeps": "all",
    "joint.num_steps": 5,
    "joint.batch_size": 4,
    "joint.warmup_steps": 1,
    "joint.average_decay": 0.0,
    "embedding_head.step_share": 0.4,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Eight riddles with a rationale each."""
    folder = tmp_path_factory.mktemp("data")
    examples = []
    for number in range(8):
        asked, answer = Content(f"as many as {number} and one"), Content(f"{number + 1} mugs")
        pair = Pair(asked, answer, asked.text, answer.text, pair_id=f"p{number}")
        told = Rationale(f"{number} plus 1 is {number + 1}", answer.text)
        examples.append(Example(pair, {"writer": told}))
    write_data(folder, examples)
    return folder


def run_of(data: Path, folder: Path, changes):
    told = {"data": str(data), **SMALL, **changes}
    run = Run.open(Settings(home=folder), configured(told, recipe="unified"), folder / "run")
    for name in list(STAGES)[: list(STAGES).index("evaluate")]:
        run_stage(run, name)
    return run


@pytest.fixture(scope="module")
def unified(data, tmp_path_factory):
    return run_of(data, tmp_path_factory.mktemp("unified"), {})


def parts(backbone):
    """The weights of the head and those of all else, by name."""
    state = backbone.state_dict()
    heads = {name: weight for name, weight in state.items() if name.startswith("head.")}
    return heads, {name: weight for name, weight in state.items() if name not in heads}


def test_the_version_has_a_trained_head_over_the_reasoner_of_the_stage_before(unified):
    assert trained(unified) == "embedding_head"
    base, reasoner, version = (
        unified.load(model).backbone
        for model in ("nano", unified.version("joint"), unified.version("embedding_head"))
    )
    head, below = parts(version)
    assert below.keys() == reasoner.state_dict().keys()
    assert all(torch.equal(below[name], own) for name, own in reasoner.state_dict().items())
    assert not all(torch.equal(below[name], own) for name, own in base.state_dict().items())
    start = reasoner.model.model.language_model
    assert head.keys() == {
        "head.norm.weight",
        *(f"head.layers.{name}" for name in start.layers[-2:].state_dict()),
    }
    assert not torch.equal(head["head.norm.weight"], start.norm.weight)


def test_both_stages_share_the_steps_and_say_so(unified):
    assert (num_steps(unified, "joint"), num_steps(unified, "embedding_head")) == (3, 2)
    for stage, steps in (("joint", 3), ("embedding_head", 2)):
        done = unified.result(stage, FinishedTraining)
        assert (done.steps, done.examples, done.reasoned) == (steps, 8, 8)
    log = (unified.folder / "joint" / "log.jsonl").read_text()
    assert "joint/next_token" in log
    assert "direct_direct" not in log
    log = (unified.folder / "embedding_head" / "log.jsonl").read_text()
    assert "embedding_head/reason_direct" in log
    assert "next_token" not in log


def test_what_is_stored_embeds_with_the_head(unified):
    model = str(unified.version("embedding_head"))
    with_head = MMEmbR1.open(EmbedderConfig(model=model, policy="never"))
    model = str(unified.version("joint"))
    without = MMEmbR1.open(EmbedderConfig(model=model, policy="never"))
    assert with_head.version != without.version
    one, other = (each.encode_items([Content("mugs")])[0].vector for each in (with_head, without))
    assert not np.allclose(one, other, atol=1e-3)


def test_a_version_with_a_head_is_split_again_and_nothing_else(unified, tmp_path):
    base = str(unified.version("embedding_head"))
    assert recipe_of(base) == "unified"
    with pytest.raises(ValueError, match="the reasoner below an embedding head is not trained"):
        Run.start(unified.settings, tmp_path, base=base, recipe="reasoning", changes={})
    for number, model in enumerate((base, str(unified.version("joint")), "nano")):
        folder = tmp_path / str(number)
        run = Run.start(unified.settings, folder, base=model, recipe="unified", changes={})
        assert run.config.embedding_head is not None


@pytest.mark.slow
def test_a_head_is_trained_on(unified, data, tmp_path):
    base = unified.version("embedding_head")
    again = run_of(data, tmp_path, {"base": str(base)})
    assert has_embedding_head(again.version("joint"))
    was, then, now = (
        parts(again.load(folder).backbone)
        for folder in (base, again.version("joint"), again.version("embedding_head"))
    )
    assert all(torch.equal(weight, then[0][name]) for name, weight in was[0].items())
    assert not all(torch.equal(weight, now[0][name]) for name, weight in was[0].items())
    assert all(torch.equal(weight, now[1][name]) for name, weight in then[1].items())


@pytest.mark.parametrize(
    "change",
    [{"behaviour.learns": True}, {"gate.num_steps": 3}, {"audio.num_layers": 1}],
)
def test_what_a_frozen_reasoner_cannot_learn_is_refused(change):
    (name,) = change
    section = name if name.startswith("behaviour") else name.partition(".")[0]
    with pytest.raises(ValueError, match=f"stays as it is, got {section} as well"):
        configured(change, recipe="unified")


def test_one_step_is_not_shared_out():
    with pytest.raises(ValueError, match=r"joint\.num_steps must be at least 2"):
        configured({"joint.num_steps": 1}, recipe="unified")

"""Tests for ponder/finetuning/balance.py: sources are drawn by how close they lie to questions."""

import json
from dataclasses import replace

import numpy as np
import pytest

from embedder.content import Content
from embedder.finetune.data.source_balance import balanced_weights, closeness
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from ponder.finetuning.recipes import configured
from ponder.finetuning.run import Run
from ponder.finetuning.stages import STAGES, run_stage
from ponder.settings import Settings

NEAR = ["red mug", "blue mug", "green lamp", "two red hats"]
FAR = ["kitchen", "home", "toys", "music"]
ASKED = ["red lamp", "blue hats"]
STEPS = {
    **{"rationales.num_drawn": 0, "selection.keeps": "all", "gate": None, "negatives.num_mined": 0},
    **{"joint.num_steps": 6, "joint.batch_size": 4, "joint.warmup_steps": 1},
    **{"joint.average_decay": 0.0, "behaviour.learns": False},
}


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Four items, each of which two sources ask for: in words like the questions', and vaguely."""
    folder = tmp_path_factory.mktemp("data")
    write(
        folder / "items.jsonl",
        [
            {"item_id": f"i{n}", "title": title, "updated_at": "2026-03-01T00:00:00Z"}
            for n, title in enumerate(NEAR)
        ],
    )
    write(
        folder / "pairs.jsonl",
        [
            {"query_text": text, "target_item": f"i{n}", "source": source}
            for source, texts in (("near", NEAR), ("far", FAR))
            for n, text in enumerate(texts)
        ],
    )
    write(
        folder / "asked.jsonl",
        [
            {"query_id": "q0", "text": ASKED[0], "relevant": ["i2"], "tier": "lamps"},
            {"query_id": "q1", "text": ASKED[1], "relevant": ["i3", "gone"], "tier": "hats"},
            {"query_id": "q2", "text": "cancelled", "relevant": ["gone"], "tier": "gone"},
        ],
    )
    return folder


def opened(data, home, name, **changes):
    config = configured({"data": str(data), **STEPS, **changes})
    return Run.open(Settings(home=home), config, home / name)


def run_until(run, last):
    for stage in STAGES:
        found = run_stage(run, stage)
        if stage == last:
            return found
    raise AssertionError(last)


@pytest.fixture(scope="module")
def balanced(data, tmp_path_factory):
    run = opened(data, tmp_path_factory.mktemp("home"), "balanced", **{"balance.max_weight": 1.95})
    run_until(run, "balance")
    return run


def test_closeness_is_that_of_the_bases_vectors(balanced):
    nano = MMEmbR1.open(EmbedderConfig())

    def vectors(encode, texts):
        return np.stack([one.vector for one in encode(list(map(Content, texts)), policy="never")])

    found = run_stage(balanced, "balance")
    assert found.closeness.keys() == {"far", "near"}
    items = np.stack([x.vector for x in nano.encode_items(list(balanced.contents.values()))])
    for source, texts in (("near", NEAR), ("far", FAR)):
        for kind, text, item in (("lamps", ASKED[0], 2), ("hats", ASKED[1], 3)):
            asked = vectors(nano.encode_query, [text])
            sides = (
                closeness(vectors(nano.encode_query, texts), asked),
                closeness(items, items[[item]]),
            )
            assert found.closeness[source][kind] == pytest.approx(np.mean(sides), abs=1e-5)
    means = {source: np.mean(list(kinds.values())) for source, kinds in found.closeness.items()}
    assert found.weights == pytest.approx(balanced_weights(means, max_weight=1.95))
    assert found.weights["near"] == pytest.approx(1.95)


@pytest.mark.slow  # two trainings to their end
def test_joint_training_draws_by_the_weights_that_were_measured(balanced, data):
    weights = run_stage(balanced, "balance").weights
    told = opened(data, balanced.settings.home, "told", **{"joint.source_weights": weights})
    assert run_until(told, "balance").weights == {}
    runs = (balanced, told)
    for run in runs:
        run_until(run, "joint")
    trained, expected = ((run.version("joint") / "model.safetensors").read_bytes() for run in runs)
    assert trained == expected


def test_questions_that_nobody_answers_are_refused(balanced, data, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "asked.jsonl").write_text((data / "asked.jsonl").read_text().splitlines()[-1])
    run = replace(balanced, config=replace(balanced.config, data=str(bare)))
    with pytest.raises(ValueError, match=r"got none that the data can answer in .*asked.jsonl"):
        STAGES["balance"].function(run, lambda done: None)


def test_weights_are_measured_or_told_and_at_least_1(data):
    both = {"balance.max_weight": 2, "joint.source_weights": {"near": 1.0}}
    with pytest.raises(ValueError, match=r"joint.source_weights as well; leave one of them out"):
        configured(both)
    with pytest.raises(ValueError, match=r"balance.max_weight must be at least 1, got 0.5"):
        configured({"balance.max_weight": 0.5})

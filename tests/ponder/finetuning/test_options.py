"""Tests for ponder/finetuning/options.py and recipes.py: names, types and what is refused."""

import json
from dataclasses import fields

import pytest

from embedder.finetune.data.augmentation import Augmentation
from embedder.finetune.gate.config import GateConfig
from embedder.finetune.training.config import (
    JointConfig,
    JointLossConfig,
    Lora,
)
from embedder.version import SHIPPED
from ponder.finetuning.options import assigned, flattened, merged, options, tables
from ponder.finetuning.recipes import RECIPES, by_option, configured, read_recipe, recipe_of
from ponder.finetuning.run_config import keep_config, known_values, read_config
from ponder.finetuning.short_options import SHORT, short_changes
from ponder.json_form import to_json


@pytest.mark.parametrize(
    ("section", "kind"),
    [("joint", JointConfig), ("joint.loss", JointLossConfig), ("gate", GateConfig)],
)
def test_every_field_of_a_training_is_an_option_but_the_seed(section, kind):
    names = {f"{section}.{one.name}" for one in fields(kind)} - {f"{section}.seed"}
    sections = {name for name in options() for other in options() if other.startswith(f"{name}.")}
    leaves = {name for name in names if not any(o.startswith(f"{name}.") for o in options())}
    assert leaves <= options().keys()
    assert sections == {
        *(
            "balance",
            "behaviour.places",
            "joint.lora",
            "audio",
            "augmentation",
            "gate",
            "gate.lora",
            "heads",
        ),
        "embedding_head",
    }


def test_every_option_says_what_it_means():
    assert [name for name, option in options().items() if len(option.meaning) < 8] == []


def test_the_default_recipe_is_the_one_that_made_nano():
    manifest = json.loads((SHIPPED["nano"] / "manifest.json").read_text())
    made = known_values(by_option(manifest["lineage"]["config"]))
    default = by_option(json.loads(to_json(tables(configured()))))
    told = {"base", "data", "name", "half_precision", "pairs.sources", "rationales.num_drawn"}
    # What options there were not when it was made have values that change nothing.
    assert {name: made[name] for name in made if name not in told} == {
        name: default[name] for name in made if name not in told
    }


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_makes_a_configuration_that_survives_its_file(recipe, tmp_path):
    config = configured(recipe=recipe)
    keep_config(config, tmp_path)
    assert read_config(tmp_path) == config
    keep_config(config, tmp_path)  # the same again goes on


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("joint.learning_rate=1e-4", 1e-4),
        ("joint.num_steps=7", 7),
        ("joint.swap_roles=true", True),
        ("joint.rationale_choice=best", "best"),
        ("joint.loss.false_negative_margin=0.2", 0.2),
        ("joint.loss.false_negative_margin=none", None),
        ("gate.sides=query,item", ("query", "item")),
        ("judging.refused=leak", frozenset({"leak"})),
        ("joint.source_weights={a = 2, b = 1.5}", {"a": 2.0, "b": 1.5}),
        ("judging.judge=yes_no:Qwen/Qwen3-VL-Reranker-2B", "yes_no:Qwen/Qwen3-VL-Reranker-2B"),
    ],
)
def test_a_text_is_read_in_the_type_of_its_option(text, value):
    (name,) = assigned([text])
    assert flattened(configured(assigned([text])))[name] == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("joint.learning_rat=1", r"no option is called .* did you mean joint.learning_rate\?"),
        (
            "learning_rate=1",
            r"mean joint.learning_rate or embedding_head.learning_rate or gate.learning_rate\?",
        ),
        ("joint.num_steps=many", "joint.num_steps must be integer, got 'many'"),
        ("joint.num_steps=1.5", "joint.num_steps must be integer"),
        ("joint.rationale_choice=worst", "must be drawn or best, got 'worst'"),
        ("joint.num_steps=none", "joint.num_steps must be integer, got 'none'"),
        ("joint.num_steps=0", "num_steps must be > 0, got 0"),
        ("joint.seed=3", "no option is called 'joint.seed'"),
        ("gate=yes", "set its fields, e.g. gate.num_steps"),
        ("judging.judge=me", "judge must be self, yes_no:MODEL"),
        ("gate.batch_size=65", "gate.batch_size must be at most joint.batch_size, 64, got 65"),
        ("base=registry:champion", "must name a version that stays one"),
        ("before=2026-01-01", "must have a time zone"),
        ("joint.num_steps", "must look like"),
    ],
)
def test_what_cannot_be_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        configured(assigned([text]))


def test_a_missing_section_is_there_again_when_a_field_of_it_is_set():
    without = merged(flattened(configured()), {"gate": None})
    assert not any(name.startswith("gate.") for name in without)
    config = configured({"gate": "none", "gate.num_steps": "9"})
    assert config.gate == GateConfig(num_steps=9)
    assert configured({"augmentation.word_dropout": 0.5}).augmentation == Augmentation(
        word_dropout=0.5
    )


def test_the_seed_is_that_of_every_section():
    config = configured({"seed": 5})
    assert (config.joint.seed, config.gate.seed, config.behaviour.objective.seed) == (5, 5, 5)
    assert configured({"seed": 5}, recipe="films").behaviour.places.seed == 5


def test_short_options_set_what_they_say_they_set():
    samples = {int: 3, float: 0.5, bool: False, str: "self"}
    for short in SHORT:
        value = "2026-01-01T00:00Z" if short.name == "before" else samples[short.hint]
        assert set(short.sets) <= short.changes(value).keys()
        configured(short.changes(value) | {"gate.batch_size": 1})
    assert short_changes({"gate_steps": 0, "steps": None}) == {"gate": None}
    assert configured(short_changes({"lora_rank": 8})).gate.lora == Lora(rank=8, alpha=16)
    assert configured(short_changes({"lora_rank": 0})).joint.lora is None


def test_a_file_changes_a_recipe_that_it_names(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'recipe = "gentle"\naugmentation.max_zoom = 0.5\n[joint]\nlearning_rate = 5e-5\n'
        "[joint.source_weights]\nsearch = 2.0\nconsecutive = 1.0\n"
    )
    config = configured({"joint.num_steps": 3}, recipe=str(path))
    expected = configured(
        {
            "joint.num_steps": 3,
            "joint.learning_rate": 5e-5,
            "joint.source_weights": {"search": 2.0, "consecutive": 1.0},
            "augmentation.max_zoom": 0.5,
        },
        recipe="gentle",
    )
    assert flattened(config) == flattened(expected)
    assert config.recipe == str(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[joint]\nlr = 1", "no option is called 'joint.lr'"),
        ('[joint]\nnum_steps = "4.5"', "must be integer"),
        ('recipe = "mild"', "must be reasoning"),
        ("joint = ", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_a_recipe_is_refused(text, message, tmp_path):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_recipe(tmp_path / "mine.toml")


def test_an_unknown_recipe_is_refused_with_the_nearest_one():
    with pytest.raises(ValueError, match=r"got 'gentel'; did you mean gentle\?"):
        configured(recipe="gentel")


@pytest.mark.parametrize(
    ("described", "recipe"),
    [
        ({"hidden_size": 128}, "reasoning"),
        ({"text_config": {"hidden_size": 2048}}, "gentle"),
        ({"hidden_size": 128, "embedding_head": {"kind": "layers"}}, "unified"),
    ],
)
def test_a_base_as_small_as_was_measured_gets_the_measured_recipe(described, recipe, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(described))
    (tmp_path / "model.safetensors").touch()
    assert recipe_of(str(tmp_path)) == recipe


def test_another_configuration_is_refused_by_the_names_that_differ(tmp_path):
    keep_config(configured(), tmp_path)
    with pytest.raises(
        ValueError, match=r"joint.lora.rank, joint.lora.alpha, gate.rewards.score: \["
    ):
        keep_config(configured({"gate.rewards.score": "cosine", "joint.lora.rank": 4}), tmp_path)


def test_a_folder_of_an_earlier_version_is_refused_with_what_to_do(tmp_path):
    flat = {"base": "nano", "data": "lake", "steps": 1000, "gate_steps": 100, "behaviour": True}
    (tmp_path / "config.json").write_text(json.dumps(flat))
    with pytest.raises(ValueError, match=r"started by an earlier version of Ponder.* with --out"):
        read_config(tmp_path)


def test_a_folder_with_a_field_that_is_unknown_is_refused(tmp_path):
    values = tables(configured()) | {"hunches": 3}
    (tmp_path / "config.json").write_text(json.dumps(values, default=sorted))
    with pytest.raises(ValueError, match=r"no option is called 'hunches'.*another version"):
        read_config(tmp_path)


def test_a_folder_goes_on_where_options_that_are_gone_had_left_something_out(tmp_path):
    config = configured()
    values = json.loads(to_json(tables(config))) | {"hunches": None}
    values["joint"]["loss"]["hunch"] = 0.0
    (tmp_path / "config.json").write_text(json.dumps(values))
    keep_config(config, tmp_path)
    assert read_config(tmp_path) == config
    for gone in (0.5, False, {"num_steps": 3}):  # a part that there was, and a switch
        (tmp_path / "config.json").write_text(json.dumps(values | {"hunches": gone}))
        with pytest.raises(ValueError, match=r"no option is called 'hunches'.*another version"):
            read_config(tmp_path)

"""Tests for ranker/saved.py."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from features.behaviour_spaces import BehaviourSpaces
from ranker.config import RankerConfig
from ranker.saved import SavedRanker, load_ranker, save_ranker
from ranker.training import train


@pytest.fixture(scope="module")
def ranker(preference_table):
    return train(preference_table, config=RankerConfig(num_rounds=5, num_members=2))


def test_saved_ranker_scores_the_same(preference_table, ranker, tmp_path):
    save_ranker(ranker, tmp_path)
    loaded = load_ranker(tmp_path)
    np.testing.assert_array_equal(
        loaded.predict(preference_table), ranker.predict(preference_table)
    )
    assert (loaded.config, loaded.centring) == (ranker.config, ranker.centring)
    assert loaded.trained_on == ranker.trained_on
    names = ["manifest.json", "model-0.txt", "model-1.txt"]
    assert sorted(p.name for p in tmp_path.iterdir()) == names


def test_behaviour_spaces_lie_beside_the_trees_and_are_missed(ranker, tmp_path):
    spaces = BehaviourSpaces(np.array([7]), pl.Series(["a"]), np.ones((1, 1, 1), dtype=np.float32))
    save_ranker(
        replace(ranker, centring=replace(ranker.centring, behaviour=spaces)), tmp_path / "one"
    )
    assert load_ranker(tmp_path / "one").centring.behaviour == spaces
    (tmp_path / "one" / f"behaviour-{spaces.id}.spaces").unlink()
    with pytest.raises(ValueError, match="must be the behaviour spaces that the manifest names"):
        load_ranker(tmp_path / "one")


def test_a_manifest_says_what_the_ranker_needs_and_comes_from(preference_table, tmp_path):
    config = RankerConfig(num_rounds=2, num_members=1, monotone={"match_max": 1})
    save_ranker(train(preference_table, config=config, data_hash="abc"), tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["feature_names"] == [f.name for f in preference_table.features]
    assert manifest["reference"] == preference_table.centring.id
    assert manifest["trained_on"]["data_hash"] == "abc"
    assert manifest["versions"].keys() == {"ponder", "lightgbm", "python"}
    assert load_ranker(tmp_path).config == config


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schema_hash", "0"),
        ("feature_names", ["item_age_h"]),
        ("models", {"model-0.txt": "0"}),
        ("trained_on", {}),
        ("digest", "0"),
    ],
)
def test_an_edited_manifest_is_refused(ranker, tmp_path, field, value):
    save_ranker(ranker, tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {field: value}))
    with pytest.raises(ValueError, match="must be as it was saved, got an edited one; train again"):
        load_ranker(tmp_path)


def test_an_edited_or_lost_model_is_refused(ranker, tmp_path):
    save_ranker(ranker, tmp_path)
    path = tmp_path / "model-1.txt"
    path.write_text(path.read_text().replace("num_leaves", "num_leafs", 1))
    with pytest.raises(ValueError, match=r"model-1\.txt must be the model its manifest describes"):
        load_ranker(tmp_path)
    path.unlink()
    with pytest.raises(ValueError, match="got another one or none"):
        load_ranker(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"centring": {}}', '{"config": {"num_trees": 3}}'])
def test_a_manifest_of_another_code_is_refused(ranker, tmp_path, text):
    save_ranker(ranker, tmp_path)
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match="got one of an older or a newer code, or none at all"):
        load_ranker(tmp_path)


def test_another_folder_is_read_when_it_is_named(preference_table, ranker, tmp_path):
    named = []
    saved = SavedRanker(lambda: tmp_path / named[-1] if named else None)
    with pytest.raises(FileNotFoundError, match="no ranker has been chosen"):
        saved.latest()
    named.append("one")
    save_ranker(ranker, tmp_path / "one")
    first = saved.latest()
    assert saved.latest() is first
    other = train(preference_table, config=RankerConfig(num_rounds=7, num_members=1))
    save_ranker(other, tmp_path / "two")
    assert saved.latest() is first
    named.append("two")
    assert saved.latest().num_trees == 7

"""Tests for ranker/saved.py."""

import json
import os

import numpy as np
import pytest

from ranker.config import RankerConfig
from ranker.saved import SavedRanker, load_ranker, save_ranker
from ranker.training import train


@pytest.fixture(scope="module")
def ranker(preference_table):
    return train(preference_table, config=RankerConfig(num_rounds=5, validation_share=0))


def test_saved_ranker_scores_the_same(preference_table, ranker, tmp_path):
    save_ranker(ranker, tmp_path)
    loaded = load_ranker(tmp_path)
    np.testing.assert_array_equal(
        loaded.predict(preference_table), ranker.predict(preference_table)
    )
    assert (loaded.config, loaded.centring) == (ranker.config, ranker.centring)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["manifest.json", "model.txt"]


def test_model_of_another_manifest_is_refused(ranker, tmp_path):
    save_ranker(ranker, tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"model_digest": "0"}))
    with pytest.raises(ValueError, match="the model its manifest describes"):
        load_ranker(tmp_path)


def test_a_ranker_of_an_older_code_is_refused(ranker, tmp_path):
    save_ranker(ranker, tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["space"] = manifest.pop("centring")  # how it was called before
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="must hold a centring, got one of an older code; train"):
        load_ranker(tmp_path)


def test_the_ranker_that_was_saved_last_is_the_one_in_use(ranker, preference_table, tmp_path):
    saved = SavedRanker(tmp_path)
    with pytest.raises(FileNotFoundError):
        saved.latest()
    save_ranker(ranker, tmp_path)
    first = saved.latest()
    assert saved.latest() is first
    save_ranker(
        train(preference_table, config=RankerConfig(num_rounds=7, validation_share=0)), tmp_path
    )
    os.utime(tmp_path / "manifest.json", ns=(1, 1))  # a clock's tick may be longer than a save
    assert (first.booster.num_trees(), saved.latest().booster.num_trees()) == (5, 7)

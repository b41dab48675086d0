"""Tests for embedder/finetune/heads/feature_table.py: each row once, whenever it is killed."""

import numpy as np
import pytest
import torch

from embedder.finetune.heads import feature_table
from embedder.finetune.heads.feature_table import FeatureTable

KEYS = [f"{n:02d}" for n in range(10)]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(feature_table, "CHUNK", 4)


class Encoding:
    """Encodes a key to its number and that times ten, and remembers what it was asked."""

    def __init__(self, fails_after=100):
        self.asked, self.left = [], fails_after

    def __call__(self, keys):
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        self.asked += keys
        return torch.tensor([[float(key), 10 * float(key)] for key in keys])


def test_a_killed_filling_goes_on_after_the_last_chunk(tmp_path):
    killed, again, done = Encoding(fails_after=1), Encoding(), []
    with pytest.raises(KeyboardInterrupt):
        FeatureTable.filled(tmp_path / "a" / "t.npy", KEYS, 2, killed)
    table = FeatureTable.filled(tmp_path / "a" / "t.npy", KEYS, 2, again, progress=done.append)
    assert killed.asked + again.asked == KEYS
    assert done == [4, 4, 2]
    rows = np.array([table.row_of[key] for key in ("07", "00")])
    assert table.at(rows).tolist() == [[7, 70], [0, 0]]
    FeatureTable.filled(tmp_path / "a" / "t.npy", KEYS, 2, Encoding(fails_after=0))


def test_statistics_are_those_of_all_rows(tmp_path):
    table = FeatureTable.filled(tmp_path / "t.npy", KEYS, 2, Encoding())
    mean, deviation = table.statistics()
    np.testing.assert_allclose(mean, table.values_NF.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(deviation, table.values_NF.std(axis=0), rtol=1e-6)

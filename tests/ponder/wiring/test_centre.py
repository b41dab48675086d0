"""Tests for ponder/wiring/service.py: what is taken off profiles."""

import json

import numpy as np

from catalog.lake.index_versions import IndexVersions
from ponder.settings import Settings
from ponder.wiring.service import centre_of
from ponder.wiring.stores import open_lake


def test_the_centre_is_the_mean_of_the_last_validation_where_the_settings_want_it(tmp_path):
    wanted = Settings(home=tmp_path)
    assert centre_of(wanted, "v") is None  # never filled
    known = IndexVersions(open_lake(wanted))
    known.record("v", state="filled")
    assert centre_of(wanted, "v") is None  # never validated
    known.record("v", state="validated", validation=json.dumps({"centroid_D": [0.5, 0.25]}))
    np.testing.assert_array_equal(centre_of(wanted, "v"), [0.5, 0.25])
    assert centre_of(Settings(home=tmp_path, centre_profiles=False), "v") is None

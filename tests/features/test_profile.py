"""Tests for features/profile.py."""

import numpy as np
import pytest

from features.profile import ProfileConfig, profile_vector


def test_an_item_weighs_half_after_one_half_life():
    # Weights 1 and 1/2: the direction is (2, 1).
    profile = profile_vector(np.eye(2, dtype=np.float32), half_life=1.0)
    np.testing.assert_allclose(profile, np.array([2, 1]) / np.sqrt(5), rtol=1e-6)
    assert profile.dtype == np.float32


def test_a_long_half_life_weighs_all_items_alike():
    profile = profile_vector(np.eye(3), half_life=1e9)
    np.testing.assert_allclose(profile, np.full(3, 1 / np.sqrt(3)), rtol=1e-6)


def test_opposite_vectors_leave_the_newest():
    opposite = np.array([[0.0, 1.0], [0.0, -1.0]])
    np.testing.assert_array_equal(profile_vector(opposite, half_life=1e30), [0, 1])


def test_what_all_items_have_in_common_is_taken_off_before_the_length_is():
    # The mean of (.8, .6) and (.6, .8), weights 1 and 1/2, is (2.2, 2) / 3; less (0, 2/3) it is x.
    vectors = np.array([[0.8, 0.6], [0.6, 0.8]])
    profile = profile_vector(vectors, half_life=1.0, centre_D=np.array([0, 2 / 3]))
    np.testing.assert_allclose(profile, [1, 0], atol=1e-6)
    at_the_centre = profile_vector(vectors[:1], half_life=1.0, centre_D=vectors[0])
    np.testing.assert_allclose(at_the_centre, vectors[0], atol=1e-6)


@pytest.mark.parametrize("num_repeats", [1, 5])
def test_one_item_repeated_is_its_own_profile(num_repeats):
    vectors = np.tile([0.6, 0.8], (num_repeats, 1))
    np.testing.assert_allclose(profile_vector(vectors, half_life=3.0), [0.6, 0.8], rtol=1e-6)


@pytest.mark.parametrize("wrong", [{"max_history": 0}, {"half_life": 0.0}])
def test_a_wrong_setting_is_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        ProfileConfig(**wrong)

"""Tests for features/schema.py."""

from dataclasses import asdict, replace

import polars as pl
import pytest

from features.context import ContextConfig
from features.groups import DEFAULT_GROUPS, GROUPS, groups_named
from features.match_config import MatchConfig
from features.schema import check_values, feature_schema, groups_of, names_of, schema_hash
from features.table import FeatureConfig


def test_names_are_unique_and_every_feature_is_described():
    features = feature_schema()
    assert len({f.name for f in features}) == len(features)
    assert all(f.description and f.source for f in features)
    assert all(f.low is None or f.high is None or f.low < f.high for f in features)


def test_groups_cut_the_list_in_pieces():
    features = feature_schema()
    pieces = [names_of(features, [group]) for group in GROUPS]
    assert all(pieces)
    assert [name for piece in pieces for name in piece] == [f.name for f in features]


def test_a_set_is_named_by_its_groups_or_by_a_name():
    assert groups_named("default") == DEFAULT_GROUPS
    assert groups_named("all") == GROUPS
    assert groups_named("match, context") == ("context", "match")
    assert groups_named("behaviour,default") == (*DEFAULT_GROUPS, "behaviour")
    for text in ("", "context,", "contexts"):
        with pytest.raises(ValueError, match="must name default, all or some of"):
            groups_named(text)


def test_a_configuration_has_the_features_of_its_groups_and_no_others():
    assert groups_of(FeatureConfig().features) == DEFAULT_GROUPS
    assert groups_of(FeatureConfig(groups=("swing", "clusters")).features) == ("swing", "clusters")
    for groups in ((), ("match", "context")):
        with pytest.raises(ValueError, match="groups must name some of"):
            FeatureConfig(groups=groups)


def hash_of(features):
    return schema_hash(features, asdict(FeatureConfig(groups=GROUPS)))


def test_hash_changes_with_formula_and_order_but_not_with_wording():
    features = feature_schema()
    first = features[0]
    assert hash_of(features) == FeatureConfig(groups=GROUPS).schema_hash
    assert hash_of(features[::-1]) != hash_of(features)
    assert hash_of((replace(first, source="x"), *features[1:])) != hash_of(features)
    assert hash_of((replace(first, description="x"), *features[1:])) == hash_of(features)


@pytest.mark.parametrize(
    "config",
    [
        FeatureConfig(match=MatchConfig(num_tiers=5)),
        FeatureConfig(match=MatchConfig(slots=49)),
        FeatureConfig(context=ContextConfig(prior_rate=0.06)),
        FeatureConfig(context=ContextConfig(popularity_half_life_days=8)),
        FeatureConfig(edge_seed=1),
        FeatureConfig(groups=("context", "collaborative", "match")),
    ],
)
def test_hash_changes_with_every_value_of_the_configuration(config):
    assert config.schema_hash != FeatureConfig().schema_hash


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("match_max", [0.5, 1.1]),
        ("match_max", [float("nan"), None]),
        ("item_age_h", [-1.0, None]),
        ("item_popularity", [float("inf"), 1.0]),
        ("user_category_share", [0.5, -0.1]),
    ],
)
def test_value_that_a_feature_cannot_have_is_refused(name, values):
    features = [each for each in feature_schema() if each.name == name]
    with pytest.raises(ValueError, match=f"{name} must be a number from"):
        check_values(pl.DataFrame({name: values}, schema={name: pl.Float32}), features)


def test_other_type_is_refused_and_missing_is_no_value():
    features = [each for each in feature_schema() if each.name == "match_max"]
    with pytest.raises(ValueError, match="match_max must be Float32, got Float64"):
        check_values(pl.DataFrame({"match_max": [0.5]}), features)
    check_values(pl.DataFrame({"match_max": [None]}, schema={"match_max": pl.Float32}), features)

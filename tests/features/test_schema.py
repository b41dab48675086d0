"""Tests for features/schema.py."""

from dataclasses import replace

from features.match import MatchConfig
from features.schema import feature_schema, names_of, schema_hash


def test_names_are_unique_and_every_feature_is_described():
    features = feature_schema()
    assert len({f.name for f in features}) == len(features)
    assert all(f.description and f.source for f in features)


def test_groups_cut_the_list_in_pieces():
    features = feature_schema()
    pieces = [names_of(features, [group]) for group in ("context", "collaborative", "match")]
    assert all(pieces)
    assert [name for piece in pieces for name in piece] == [f.name for f in features]


def test_hash_changes_with_formula_and_order_but_not_with_wording():
    features = feature_schema()
    first = features[0]
    assert schema_hash(features) == schema_hash(feature_schema(MatchConfig()))
    assert schema_hash(features[::-1]) != schema_hash(features)
    assert schema_hash((replace(first, source="x"), *features[1:])) != schema_hash(features)
    assert schema_hash((replace(first, description="x"), *features[1:])) == schema_hash(features)


def test_hash_changes_with_the_configuration():
    assert schema_hash(feature_schema(MatchConfig(num_tiers=5))) != schema_hash(feature_schema())

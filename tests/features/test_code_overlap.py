"""Code features by hand; what any log makes of them is in test_any_similarity.py."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from catalog.lake.tables import EVENTS, TIME
from features.centred_embeddings import CentredEmbeddings, codes_carried, codes_column
from features.centring import Centring
from features.code_overlap import CodeConfig
from features.table import FeatureConfig, build_features

NOW = datetime(2026, 3, 9, tzinfo=UTC)
CENTRING = Centring("v", (0.0, 0.0), (), codes_id="k")
CODES = {"a": [3, 1, 4], "b": [3, 1, 5], "c": [3, 2, 4], "d": [0, 1, 4], "e": [3, 1, 4]}
CONFIG = FeatureConfig(groups=("codes",))


def embeddings(codes_id="k"):
    vectors = [[1.0, number] for number in range(len(CODES))]
    columns = {"item_id": list(CODES), "vector": vectors, "model_version": "v"}
    frame = pl.DataFrame(columns, schema_overrides={"vector": pl.List(pl.Float32)})
    codes = pl.Series(list(CODES.values()), dtype=pl.List(pl.Int32))
    return frame.with_columns(codes.alias(codes_column(codes_id)))


def made(liked, asked, vectors=None, centring=CENTRING):
    """The code features of candidates, for somebody who liked items so many hours ago."""
    events = pl.DataFrame(
        [
            {"event_id": item, "user_id": "u", "item_id": item, "action": "like"}
            | {"ts": NOW - timedelta(hours=hours)}
            for item, hours in liked.items()
        ],
        schema=EVENTS.schema,
    )
    impressions = pl.DataFrame({"item_id": list(asked)}).select(
        request_id=pl.lit("r"), user_id=pl.lit("u"), item_id="item_id", ts=pl.lit(NOW, TIME)
    )
    states = {"item_id": pl.String, "category": pl.String, "price": pl.Float64}
    items = pl.DataFrame(schema=states | {"created_at": TIME})
    vectors = embeddings() if vectors is None else vectors
    centred = CentredEmbeddings.of(vectors, centring)
    table = build_features(impressions, events, items, vectors, config=CONFIG, centred=centred)
    return {row["item_id"]: row for row in table.frame.iter_rows(named=True)}


def test_prefixes_are_counted_to_the_first_code_that_differs():
    rows = made({"b": 1, "c": 24, "d": 48}, "a")
    got = rows["a"]  # shares 2 codes with b, 1 with c, and with d none: the first differs
    assert got["code_prefix_max"] == got["code_prefix_last"] == 2
    assert got["code_prefix_mean"] == pytest.approx(1)
    weights = [1, 0.5 ** (23 / 168), 0.5 ** (47 / 168)]
    assert got["code_prefix_decayed"] == pytest.approx((2 + weights[1]) / sum(weights))
    assert got["code_1_share"] == pytest.approx(2 / 3)
    assert got["code_2_share"] == pytest.approx(1 / 3)
    assert got["code_3_share"] == 0
    assert (got["code_1_age_h"], got["code_2_age_h"]) == (1, 1)


def test_a_history_of_years_ago_is_weighed_as_one_of_yesterday():
    hours = {"b": 80_000, "c": 80_024, "d": 80_048}  # of 0.5 ** 476 no float32 is left
    [long_ago], [recent] = (
        [row["code_prefix_decayed"] for row in made(liked, "a").values()]
        for liked in (hours, {item: at - 79_999 for item, at in hours.items()})
    )
    assert long_ago == pytest.approx(recent, rel=1e-5)


def test_the_candidate_itself_is_left_out_of_its_history():
    rows = made({"a": 1, "b": 2}, "ae")
    assert rows["a"]["code_prefix_max"] == 2  # of b
    assert rows["e"]["code_prefix_max"] == 3  # of a, which is another item with the same codes
    assert rows["e"]["code_prefix_max_rank"] == 1


def test_nothing_to_compare_is_null_and_not_0():
    for rows in (made({}, "a"), made({"b": 1}, ["unknown"]), made({"a": 1}, "a")):
        [got] = rows.values()
        assert all(got[name] is None for name in got if name.startswith("code_"))


def test_a_reference_without_codebooks_has_no_values_and_says_so_of_no_row():
    bare = replace(CENTRING, codes_id="")
    assert made({"b": 1}, "a", centring=bare)["a"]["code_prefix_max"] is None


def test_codes_of_other_codebooks_are_not_compared():
    with pytest.raises(ValueError, match="carry the codes of the codebooks 'k'"):
        made({"b": 1}, "a", vectors=embeddings("other"))
    assert codes_carried(embeddings("other")) == "other"
    assert codes_carried(embeddings().drop(codes_column("k"))) == ""


def test_a_candidate_has_the_same_codes_shared_whatever_is_asked_beside():
    rng = np.random.default_rng(0)
    names = list(CODES)
    for _ in range(3):
        liked = {item: int(rng.integers(1, 99)) for item in rng.permutation(names)[:3]}
        whole = made(liked, names)
        for item in names:
            alone = made(liked, item)[item]
            kept = [n for n in alone if n.startswith("code_") and not n.endswith(("_rank", "_gap"))]
            assert {n: alone[n] for n in kept} == {n: whole[item][n] for n in kept}


def test_a_config_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="must be > 0"):
        CodeConfig(slots=0)
    with pytest.raises(ValueError, match="relative must name some of"):
        CodeConfig(relative=("match_max",))


def test_what_was_made_without_codes_keeps_its_identity():
    assert "codes" not in FeatureConfig().plain
    assert "codes_id" not in Centring("v", (0.5,), ()).plain
    assert replace(CENTRING, codes_id="l").id != CENTRING.id
    assert Centring.of_plain(CENTRING.plain, lambda spaces_id: None) == CENTRING

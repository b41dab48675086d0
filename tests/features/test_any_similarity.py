"""Any log: what compares vectors is what a slow oracle makes of docs/features.md, pair by pair."""

import math
import os
import statistics
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.lake.tables import EVENTS, TIME
from features import behaviour, code_overlap
from features.behaviour import BehaviourConfig
from features.behaviour_spaces import BehaviourSpaces
from features.centred_embeddings import CentredEmbeddings, codes_column
from features.centring import Centring
from features.code_overlap import CodeConfig
from features.daily_sums import days_of
from features.groups import VECTOR_GROUPS, in_order
from features.histories import HistoryConfig
from features.match_config import MatchConfig
from features.table import SPARE_ITEMS, FeatureConfig, build_features

START = datetime(2026, 3, 1, tzinfo=UTC)
EDGES = (-0.35, 0.05, 0.55)
CENTRES = ((1.0, 0.0, 0.0), (-0.6, 0.8, 0.0), (-0.6, -0.8, 0.0))
SLOTS, SKIP_SLOTS, SPACE_SLOTS = 4, 3, 3
CONFIG = FeatureConfig(
    groups=in_order((*VECTOR_GROUPS, "behaviour")),
    history=HistoryConfig(max_items=SLOTS),
    match=MatchConfig(slots=SLOTS, skip_slots=SKIP_SLOTS, num_tiers=4, num_nearest=3),
    behaviour=BehaviourConfig(slots=SPACE_SLOTS, relative=("behaviour_max",)),
    codes=CodeConfig(slots=SLOTS, half_life_days=0.5),
)
ITEMS = "abcdefgh"  # g and h have no vector, d is the duplicate of c, and h has no category
LIKED, STRONG = ("click", "view", "like", "purchase"), ("like", "purchase")
EXAMPLES = int(os.environ.get("TEST_EXAMPLES", "40"))

rows = st.tuples(
    st.sampled_from("uuv"),
    st.sampled_from(ITEMS),
    st.sampled_from(["impression", "click", "like", "skip", "skip", "rating", "purchase"]),
    st.sampled_from([None, 1.0, 2.0, 3.0, 3.5]),
    st.integers(0, 60),
)
requests = st.lists(
    st.tuples(
        st.sampled_from("uvx"),
        st.integers(1, 70),
        st.lists(st.sampled_from(ITEMS), min_size=1, max_size=8, unique=True),
    ),
    min_size=1,
    max_size=3,
)


def vectors():
    matrix = np.random.default_rng(5).normal(size=(6, 3)).astype(np.float32)
    matrix[3] = matrix[2]
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    return {item: row for item, row in zip(ITEMS[:6], matrix, strict=True)}


VECTORS = vectors()


def spaces():
    """By the first hour that is compared in it: where behaviour puts items; not all of them."""
    rng = np.random.default_rng(6)
    drawn = rng.normal(size=(2, len(ITEMS), 2)).astype(np.float32)
    drawn /= np.linalg.norm(drawn, axis=2, keepdims=True)
    told = zip((24, 48), ("ach", "abcefh"), drawn, strict=True)
    return {hour: {item: rows[ITEMS.index(item)] for item in items} for hour, items, rows in told}


SPACES = spaces()


def kept_spaces():
    items = sorted({item for space in SPACES.values() for item in space})
    nothing = np.zeros(2, dtype=np.float32)
    vectors = np.array([[space.get(item, nothing) for item in items] for space in SPACES.values()])
    days = days_of(pl.Series([START + timedelta(hours=hour) for hour in SPACES]))
    return BehaviourSpaces(days, pl.Series(items), vectors)


CENTRING = Centring("v", (0.0, 0.0, 0.0), EDGES, CENTRES, kept_spaces(), codes_id="c")


def category(item, hour):
    """An item is of the next category from hour 20 on; a change counts for what comes after it."""
    return None if item == "h" else "xyz"[(ITEMS.index(item) + (hour > 20)) % 3]


def states():
    made = [
        (item, category(item, hour + 1), START, START + timedelta(hours=hour))
        for item in ITEMS[:-1]
        for hour in (-99, 20)
    ]
    names = {"item_id": pl.String, "category": pl.String, "created_at": TIME, "since": TIME}
    return pl.DataFrame(made, schema=names, orient="row")


def events_of(log):
    return pl.DataFrame(
        [
            {"event_id": str(n), "user_id": user, "item_id": item, "action": action}
            | {"value": value, "ts": START + timedelta(hours=hour)}
            for n, (user, item, action, value, hour) in enumerate(log)
        ],
        schema=EVENTS.schema,
    )


def says(action, value):
    """What an event says of its item: strongly for it, for it, against it, or nothing."""
    high, low = (value or 0) >= 3.5, value is not None and value <= 2
    if action in STRONG or (action == "rating" and high):
        return "strong"
    if action in LIKED:
        return "liked"
    return "skipped" if action == "skip" or (action == "rating" and low) else "nothing"


def newest(log, user, hour, kinds, item, slots):
    """(cosine, age, strong, category then) of a user's items, newest first, without the item."""
    last = {}
    for who, acted, action, value, at in log:
        said = says(action, value)
        if who == user and at < hour and said in kinds:
            last[acted] = max(last.get(acted, (-1, False)), (at, said == "strong"))
    order = sorted(last, key=lambda acted: (last[acted][0], acted), reverse=True)
    order = [acted for acted in order if acted in VECTORS]
    own = VECTORS.get(item)
    left = [acted for acted in order if own is None or not np.array_equal(VECTORS[acted], own)]
    return [
        (
            VECTORS[acted].astype(float),
            hour - last[acted][0],
            last[acted][1],
            category(acted, last[acted][0]),
        )
        for acted in left[:slots]
    ]


def alike(one, other):
    both = one in VECTORS and other in VECTORS
    return one == other or (both and np.array_equal(VECTORS[one], VECTORS[other]))


def newest_like(log, user, hour):
    """By item when it was liked last, strongly or not."""
    last = {}
    for who, acted, action, value, at in log:
        if who == user and at < hour and says(action, value) in ("liked", "strong"):
            last[acted] = max(last.get(acted, -1), at)
    return last


def all_liked(log, user, hour):
    """What a user liked, with or without a vector, as many as are looked at."""
    last = newest_like(log, user, hour)
    return sorted(last, key=lambda acted: (last[acted], acted), reverse=True)[: SLOTS + SPARE_ITEMS]


def mean_of_largest(values, k):
    best = sorted(values, reverse=True)[:k]
    return sum(best) / len(best) if best else None


def profile(own, past, weight=lambda age: 1.0):
    if not past:
        return None
    total = sum(weight(age) * vector for vector, age, *_ in past)
    length = np.linalg.norm(total)
    return float(own @ total / length) if length > 1e-4 else None


def outcome(own, liked, skipped, half_life_h):
    ages = [age for _, age, *_ in liked + skipped]
    sums = [
        sum(
            math.exp((own @ vector - 1) / 0.1) * 0.5 ** ((age - min(ages)) / half_life_h)
            for vector, age, *_ in past
        )
        for past in (liked, skipped)
    ]
    return sums[0] / sum(sums) if ages else None


def cluster(vector):
    return int(np.argmax(np.array(CENTRES) @ vector))


def codes_of(vector):
    """Codes that hang on the vector alone, of which the first ones are often the same."""
    return [cluster(vector), int(vector[0] > 0), int(10 * vector[1]) % 3]


def code_row(own, liked):
    """How many codes a candidate shares with what was liked."""
    if not liked:
        return {}
    pairs = [list(zip(codes_of(own), codes_of(vector), strict=True)) for vector, *_ in liked]
    p = [next((n for n, (one, other) in enumerate(pair) if one != other), 3) for pair in pairs]
    ages = [age for _, age, *_ in liked]
    weights = [0.5 ** ((age - min(ages)) / 12) for age in ages]
    told = list(zip(p, ages, strict=True))
    return {
        "code_prefix_max": max(p),
        "code_prefix_mean": statistics.mean(p),
        "code_prefix_decayed": sum(w * n for w, n in zip(weights, p, strict=True)) / sum(weights),
        "code_prefix_last": p[0],
        **{f"code_{n}_share": sum(each >= n for each in p) / len(p) for n in (1, 2, 3)},
        **{f"code_{n}_age_h": min((a for x, a in told if x >= n), default=None) for n in (1, 2)},
    }


def behaviour_row(log, user, hour, item):
    """How near a candidate lies to what was liked, in the newest space of before the day."""
    known = [space for since, space in SPACES.items() if since <= hour]
    space = known[-1] if known else {}
    past = [acted for acted in all_liked(log, user, hour) if acted != item and acted in space]
    past = past[:SPACE_SLOTS]
    if item not in space or not past:
        return dict.fromkeys(behaviour.NAMES)
    b = [float(space[item].astype(float) @ space[acted]) for acted in past]
    ages = [hour - at for at in map(newest_like(log, user, hour).get, past)]
    lying = [(space[acted].astype(float), age) for acted, age in zip(past, ages, strict=True)]
    return {
        "behaviour_max": max(b),
        "behaviour_top3_mean": mean_of_largest(b, 3),
        "behaviour_mean": statistics.mean(b),
        "behaviour_last": b[0],
        "behaviour_profile": profile(
            space[item].astype(float), lying, lambda age: 0.5 ** (age / 24 / 7)
        ),
    }


def slow_row(log, user, hour, item, asked):
    liked = newest(log, user, hour, ("liked", "strong"), item, SLOTS)
    skipped = newest(log, user, hour, ("skipped",), item, SKIP_SLOTS)
    strong = [row for row in liked if row[2]]
    session = [row for row in liked if row[1] <= 1]
    same = [row for row in liked if row[3] is not None and row[3] == category(item, hour)]
    ages = [age for _, age, *_ in liked]
    past = [acted for acted in all_liked(log, user, hour) if not alike(acted, item)]
    row = {
        "history_size": min(len(past), SLOTS),
        "is_repeat": item in all_liked(log, user, hour),
        "has_vector": item in VECTORS,
        "match_category_size": len(same),
        "strong_size": len(strong),
        "session_size": len(session),
        "skip_size": len(skipped),
        **behaviour_row(log, user, hour, item),
        **dict.fromkeys(code_overlap.NAMES),
        "history_newest_h": min(ages, default=None),
        "history_span_h": max(ages) - min(ages) if ages else None,
    }
    if item not in VECTORS:
        return row
    own = VECTORS[item].astype(float)
    s, spurned = [float(own @ one[0]) for one in liked], [float(own @ one[0]) for one in skipped]
    in_strong, in_same = [own @ one[0] for one in strong], [own @ one[0] for one in same]
    in_session = [own @ one[0] for one in session]
    others = [own @ VECTORS[other] for other in asked if other != item and other in VECTORS]
    in_cluster = [age for vector, age, *_ in liked if cluster(vector) == cluster(own)]
    near = [age for age, cosine in zip(ages, s, strict=True) if cosine >= EDGES[1]]
    nearest = [age for age, cosine in zip(ages, s, strict=True) if cosine >= max(s) - 1e-6]
    best = sorted(s, reverse=True)
    top3 = mean_of_largest(s, 3), mean_of_largest(spurned, 3)
    return (
        row
        | code_row(own, liked)
        | {
            "match_max": max(s, default=None),
            "match_top5_mean": mean_of_largest(s, 5),
            "match_nearest2": best[1] if len(s) > 1 else None,
            "match_nearest3": best[2] if len(s) > 2 else None,
            "match_profile": profile(own, liked),
            "match_profile_7d": profile(own, liked, lambda age: 0.5 ** (age / 24 / 7)),
            "match_std": statistics.pstdev(s) if s else None,
            "match_median": statistics.median(s) if s else None,
            "match_last5_mean": statistics.mean(s[:5]) if s else None,
            "match_max_age_h": min(nearest, default=None),
            "match_near_share": len(near) / len(s) if s else None,
            "match_near_age_h": min(near, default=None),
            "match_category_max": max(in_same, default=None),
            "match_category_mean": statistics.mean(in_same) if same else None,
            "match_cluster_share": len(in_cluster) / len(liked) if liked else None,
            "match_cluster_age_h": min(in_cluster, default=None),
            "match_candidates_mean": statistics.mean(others) if others else None,
            "strong_max": max(in_strong, default=None),
            "strong_top3_mean": mean_of_largest(in_strong, 3),
            "strong_last": in_strong[0] if strong else None,
            "strong_profile": profile(own, strong),
            "session_max": max(in_session, default=None),
            "session_mean": statistics.mean(in_session) if session else None,
            "skip_max": max(spurned, default=None),
            "skip_top3_mean": top3[1],
            "skip_last": spurned[0] if spurned else None,
            "skip_profile": profile(own, skipped),
            "match_over_skip_max": max(s) - max(spurned) if s and spurned else None,
            "match_over_skip_top3": top3[0] - top3[1] if s and spurned else None,
            "outcome_near": outcome(own, liked, skipped, math.inf),
            "outcome_recent": outcome(own, liked, skipped, 24 * 7),
        }
    )


def made(log, asked):
    impressions = pl.DataFrame(
        [
            {"request_id": f"r{n}", "user_id": user, "item_id": item}
            | {"ts": START + timedelta(hours=hour)}
            for n, (user, hour, candidates) in enumerate(asked)
            for item in candidates
        ],
        schema_overrides={"ts": TIME},
    )
    lists = pl.Series([row.tolist() for row in VECTORS.values()], dtype=pl.List(pl.Float32))
    codes = pl.Series(list(map(codes_of, VECTORS.values())), dtype=pl.List(pl.Int32))
    embeddings = pl.DataFrame({"item_id": list(VECTORS), "vector": lists, "model_version": "v"})
    embeddings = embeddings.with_columns(codes.alias(codes_column("c")))
    centred = CentredEmbeddings.of(embeddings, CENTRING)
    return build_features(
        impressions, events_of(log), states(), embeddings, config=CONFIG, centred=centred
    )


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(rows, max_size=40), requests)
def test_any_log_agrees_with_a_slow_oracle(log, asked):
    table = made(log, asked)
    got = iter(table.frame.to_dicts())
    for user, hour, candidates in asked:
        for item in candidates:
            row = next(got)
            for name, value in slow_row(log, user, hour, item, candidates).items():
                told = value if value is None else pytest.approx(value, abs=1e-5)
                assert row[name] == told, name


def test_the_oracle_knows_every_feature_that_it_does_not_leave_to_the_other_one():
    log = [("u", item, "like", None, 3) for item in "abc"]
    table = made(log, [("u", 9, ["e"])])
    known = slow_row(log, "u", 9, "e", ["e"]).keys()
    names = {f.name for f in table.features if f.group in (*VECTOR_GROUPS, "behaviour")}
    left = {name for name in names - known if not name.endswith(("_rank", "_gap"))}
    elsewhere = {*CONFIG.match.similarity_names(), *CONFIG.match.tier_names()}  # test_match.py
    assert left <= elsewhere

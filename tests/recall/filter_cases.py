"""Items with hostile texts, filters at random, and what a filter means, spelled out in Python."""

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from recall.filters import Filter, Range

HOSTILE = (
    "plain",
    'quo"te',
    "apo'strophe",
    "back\\slash",
    'both\\"',
    "new\nline\r\ttab",
    '"] or item_id != "',
    "%_*[](){}$meta",
    "null",
    "émoji 🦆\u2028\x00\x7f",
    "",
)
DAY = datetime(1970, 1, 1, tzinfo=UTC)

CASES = [
    {
        "item_id": f"i{n}{text}",
        "category": None if n == 0 else text,
        "tags": sorted({text, HOSTILE[n - 1]}) if n % 3 else [],
        "attributes": {"n": n, text: text, "half": n / 2} | ({"odd": n % 2 == 1} if n < 8 else {}),
        "created_at": DAY + timedelta(days=n - 2, microseconds=n),
    }
    for n, text in enumerate(HOSTILE)
]


SOME_CODES = ("1-2-3-", "1-2-4-", "1-20-3-", "11-2-3-", "12-0-", "", "1-2-3-")
CODES = {item["item_id"]: SOME_CODES[n % 7] for n, item in enumerate(CASES)}
"""Codes of the items as an index holds them; the lake has them elsewhere than in `items`."""


def meets(item, condition: Filter, *, is_true_one: bool) -> bool:
    """The meaning of a filter; `is_true_one` as Milvus Lite has it, which takes true for 1."""
    c, tags = condition, item["tags"]
    return (
        (c.category_in is None or item["category"] in c.category_in)
        and (c.tags_any is None or any(tag in tags for tag in c.tags_any))
        and (c.tags_all is None or all(tag in tags for tag in c.tags_all))
        and (c.created_after is None or item["created_at"] >= c.created_after)
        and (c.created_before is None or item["created_at"] < c.created_before)
        and all(
            _attribute_meets(item["attributes"], *pair, is_true_one=is_true_one)
            for pair in c.attributes.items()
        )
        and (
            c.code_prefixes is None
            or any(CODES[item["item_id"]].startswith(f"{one}-") for one in c.code_prefixes)
        )
        and (c.include_ids is None or item["item_id"] in c.include_ids)
        and item["item_id"] not in c.exclude_ids
    )


def _attribute_meets(attributes, name, condition, *, is_true_one) -> bool:
    if name not in attributes:
        return False
    value = attributes[name]
    if isinstance(condition, Range):
        return (
            not isinstance(value, str)
            and (is_true_one or not isinstance(value, bool))
            and (condition.min is None or value >= condition.min)
            and (condition.max is None or value <= condition.max)
        )
    wanted = condition if isinstance(condition, tuple) else (condition,)
    return any(
        value == each and (is_true_one or isinstance(value, bool) == isinstance(each, bool))
        for each in wanted
    )


texts = st.sampled_from(HOSTILE) | st.text(max_size=8)
strings = st.lists(texts, min_size=1, max_size=3).map(tuple)
names = st.lists(texts.filter(bool), min_size=1, max_size=3).map(tuple)
ids = st.lists(st.sampled_from([item["item_id"] for item in CASES]) | texts, max_size=4).map(tuple)
moments = st.integers(-3, 12).map(lambda n: DAY + timedelta(days=n - 2, microseconds=n))
numbers = st.integers(-2, 12) | st.floats(-2, 12)
scalars = texts | numbers | st.booleans()
ranges = st.builds(Range, min=numbers) | st.builds(Range, max=numbers, min=st.none() | numbers)
attributes = st.dictionaries(
    st.sampled_from(["n", "half", "odd", *HOSTILE]) | texts,
    scalars | ranges | st.lists(scalars, min_size=1, max_size=3).map(tuple),
    max_size=2,
)
CONDITIONS = {
    "category_in": names,
    "tags_any": strings,
    "tags_all": strings,
    "created_after": moments,
    "created_before": moments,
    "attributes": attributes,
    "include_ids": ids,
    "exclude_ids": ids,
}
prefixes = st.lists(
    st.sampled_from(["1", "1-2", "1-2-3", "1-20", "11", "2", "12-0", "12-0-0"]),
    min_size=1,
    max_size=3,
).map(tuple)


# One or two conditions at a time: with more, hardly a filter would let anything through.
def _one_or_two(conditions):
    return (
        st.lists(st.sampled_from(sorted(conditions)), min_size=1, max_size=2, unique=True)
        .flatmap(lambda names: st.fixed_dictionaries({name: conditions[name] for name in names}))
        .map(lambda chosen: Filter(**chosen))
    )


filters = _one_or_two(CONDITIONS)
index_filters = _one_or_two(CONDITIONS | {"code_prefixes": prefixes})
"""Also of what an index alone knows."""

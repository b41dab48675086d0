"""Tests for paired.py: who could serve which pair, and who has seen too much."""

import pytest

from embedder.content import Content
from embedder.finetune.data.pairs import Pair
from embedder.finetune.rationales.paired import pair_rationales
from embedder.finetune.records import GeneratedRationale
from embedder.reasoners.cache import content_key

MUGS = Pair(Content("red mugs"), Content("3 mugs by ACME"), "q", "t", "p1")
MORE = Pair(Content("red mugs"), Content("4 mugs"), "q", "u", "p2")
NAMES = {"t": ("acme",), "q": ()}


def generated(content, side, text="a reason", **options):
    return GeneratedRationale(content_key(content), side, "w", text, "", 1, **options)


def test_a_candidate_is_offered_to_every_pair_with_its_content_on_its_side():
    about_query = generated(MUGS.query, "query")
    about_item = generated(MORE.target, "item")
    about_nothing = generated(Content("hats"), "query")
    found = pair_rationales([MUGS, MORE], [about_query, about_item, about_nothing], names=NAMES)
    assert [(paired.pair.pair_id, paired.side, paired.generated) for paired in found] == [
        ("p1", "query", about_query),
        ("p2", "query", about_query),
        ("p2", "item", about_item),
    ]
    only_items = pair_rationales(
        [MUGS, MORE], [about_query, about_item], names=NAMES, sides=["item"]
    )
    assert [paired.side for paired in only_items] == ["item"]


def test_a_leak_is_a_matter_of_the_pair_and_joins_the_flags():
    told = generated(MUGS.query, "query", "those of acme", flags=frozenset({"too_long"}))
    first, second = pair_rationales([MUGS, MORE], [told], names=NAMES)
    assert first.flags == {"leak", "too_long"}
    assert second.flags == {"too_long"}


def test_an_item_may_say_its_own_name_and_not_its_query():
    says_itself = generated(MUGS.target, "item", "made by acme")
    says_query = generated(MUGS.target, "item", "for who asks red mugs")
    names = NAMES | {"q": ("red mugs",)}
    flags = [
        paired.flags for paired in pair_rationales([MUGS], [says_itself, says_query], names=names)
    ]
    assert flags == [frozenset(), frozenset({"leak"})]


@pytest.mark.parametrize("ids", [("p", "p"), ("p", "")])
def test_pairs_need_ids_of_their_own(ids):
    pairs = [Pair(Content("q"), Content("t"), "q", "t", pair_id) for pair_id in ids]
    with pytest.raises(ValueError, match="pair_id of its own"):
        pair_rationales(pairs, [], names={})

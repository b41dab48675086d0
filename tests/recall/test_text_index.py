"""Tests for recall/text_index.py: BM25 against the formula, and words that are no syntax."""

import math

import pytest

from recall.text_index import TextIndex

TEXTS = {
    "a": "red mug red handle",
    "b": "a mug of blue glass",
    "c": "Red RED red red",
    "d": "garden hose",
}
K1, B = 1.2, 0.75


@pytest.fixture
def index():
    made = TextIndex()
    made.put(TEXTS.items())
    made.commit()
    return made


def ids(matches):
    return [match.item_id for match in matches]


def bm25(tokens, item_id):
    """Robertson's formula with the idf that is never negative."""
    words = {name: text.lower().split() for name, text in TEXTS.items()}
    mean = sum(map(len, words.values())) / len(words)
    score = 0.0
    for token in tokens:
        holding = sum(token in text for text in words.values())
        idf = math.log(1 + (len(words) - holding + 0.5) / (holding + 0.5))
        count = words[item_id].count(token)
        norm = K1 * (1 - B + B * len(words[item_id]) / mean)
        score += idf * count * (K1 + 1) / (count + norm)
    return score


def test_scores_are_those_of_the_formula(index):
    found = {match.item_id: match.score for match in index.search("Red mug?", limit=10)}
    expected = {name: bm25(["red", "mug"], name) for name in "abc"}
    assert found == pytest.approx(expected, rel=1e-5)  # it computes in float32
    assert ids(index.search("Red mug?", limit=10)) == sorted(expected, key=lambda i: -expected[i])


def test_what_is_put_again_is_replaced_and_what_is_removed_is_gone(index):
    index.put([("d", "red garden"), ("e", "red roof")])
    index.remove(["a", "nobody"])
    assert "a" in ids(index.search("red", limit=9))  # until it is committed
    index.commit()
    assert set(ids(index.search("red", limit=9))) == {"c", "d", "e"}
    assert ids(index.search("hose", limit=9)) == []


def test_equal_items_come_in_order_of_their_ids():
    index = TextIndex()
    index.put((name, "same words") for name in ("z", "b", "m", "a"))
    index.commit()
    assert ids(index.search("words", limit=9)) == ["a", "b", "m", "z"]


@pytest.mark.parametrize(
    "text",
    [
        "text:red AND (",
        '"red',
        "item_id:d",
        "red^1e9",
        "*",
        "-red",
        "\x00\ud83d\ude00",
        "",
        "  ",
        "x" * 99_999,
    ],
)
def test_a_query_is_words_and_never_syntax(index, text):
    found = ids(index.search(text, limit=9))
    assert found == (["c", "a"] if "red" in text else [])


def test_ids_of_any_kind_are_kept_as_they_are():
    index, names = TextIndex(), ['a"b', "a b", "A B", "é", "\\", "a" * 256]
    index.put((name, "word") for name in names)
    index.commit()
    assert ids(index.search("word", limit=9)) == sorted(names)
    index.remove(["a b"])
    index.commit()
    assert ids(index.search("word", limit=9)) == sorted({*names} - {"a b"})

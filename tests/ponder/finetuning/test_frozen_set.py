"""Tests for ponder/finetuning/frozen_set.py: what is frozen comes back, and any change is seen."""

import pytest

from embedder.content import Content
from evaluation.query_sets import Query
from ponder.finetuning.frozen_set import freeze, read_frozen_set

CONTENTS = {
    "a": Content("mug", b"image of a", key="1"),
    "b": Content("hat"),
    "c": Content("", b"image of c"),
    "d": Content("kite"),
}


def query(query_id="q", **values):
    return Query(**{"query_id": query_id, "text": "mugs", "relevant": ["a"]} | values)


def test_a_set_comes_back_as_it_was_frozen(tmp_path):
    asked = [query(tier="literal", held_out=True), query("r", text="", item="b", relevant=["c"])]
    freeze(asked, CONTENTS, tmp_path / "set")
    read = read_frozen_set(tmp_path / "set")
    assert read.queries == asked
    assert read.query_contents == [Content("mugs"), Content("hat")]
    assert {i: (c.text, c.image) for i, c in read.contents.items()} == {
        i: (c.text, c.image) for i, c in CONTENTS.items()
    }


def test_further_images_clips_and_sounds_come_back_too(tmp_path):
    shown = Content("kite", b"1", gallery=(b"2", b"1"), clip=b"film", audio=b"bell")
    freeze([query()], CONTENTS | {"a": shown}, tmp_path / "set")
    assert read_frozen_set(tmp_path / "set").contents["a"] == shown


def test_equal_sets_have_equal_digests_and_others_do_not(tmp_path):
    frozen = [
        freeze([query(text=text)], CONTENTS, tmp_path / name)
        for name, text in (("one", "mugs"), ("two", "mugs"), ("three", "hats"))
    ]
    assert frozen[0].digest == frozen[1].digest != frozen[2].digest


@pytest.mark.parametrize("name", ["queries.jsonl", "items.jsonl", "image"])
def test_a_set_that_was_changed_is_refused(tmp_path, name):
    freeze([query()], CONTENTS, tmp_path / "set")
    folder = tmp_path / "set"
    path = min((folder / "images").iterdir()) if name == "image" else folder / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ValueError, match="must be as it was frozen"):
        read_frozen_set(folder)


def test_queries_that_nothing_answers_are_left_out(tmp_path):
    asked = [
        query("gone", relevant=["x"]),
        query("half", relevant=["x", "b"]),
        query("asker is gone", text="", item="x"),
    ]
    frozen = freeze(asked, CONTENTS, tmp_path / "set")
    assert frozen.queries == [query("half", relevant=["b"])]
    assert freeze(asked[:1], CONTENTS, tmp_path / "nothing") is None
    assert not (tmp_path / "nothing").exists()


def test_of_too_many_items_those_that_queries_name_are_kept(tmp_path):
    asked = [query(text="", item="b", relevant=["d"])]
    assert sorted(freeze(asked, CONTENTS, tmp_path / "two", max_items=2).contents) == ["b", "d"]
    three = freeze(asked, CONTENTS, tmp_path / "three", max_items=3)
    assert len(three.contents) == 3
    assert {"b", "d"} < set(three.contents)

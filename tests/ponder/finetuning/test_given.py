"""Tests for ponder/finetuning/given.py: what a data folder brings beside items and events."""

import json

import pytest

from embedder.content import Content
from embedder.finetune.data import pair_rows
from embedder.reasoners.reasoner import NoRationale, Rationale
from ponder.finetuning.given import (
    read_hard_negatives,
    read_pairs,
    read_searches,
    read_texts,
    read_wordings,
    read_workers,
)

CONTENTS = {"a": Content("red mug"), "b": Content("blue mug"), "n": Content("red cup")}


def write(folder, name, *rows):
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_folder_without_them_brings_nothing(tmp_path):
    assert read_pairs(tmp_path).is_empty()
    assert read_hard_negatives(tmp_path).is_empty()
    assert read_workers(tmp_path, CONTENTS) == []
    assert read_texts(tmp_path) == read_wordings(tmp_path) == []


def test_pairs_need_no_more_than_a_query_and_a_target(tmp_path):
    write(
        tmp_path,
        "pairs.jsonl",
        {"query_text": "mug", "target_item": "b"},
        {"query_item": "a", "target_item": "b", "pair_id": "p1", "source": "mine"},
    )
    rows = read_pairs(tmp_path)
    assert rows.schema == pair_rows.PAIRS.schema
    assert rows.select("source", "query_key", "target_key", "target_view").rows() == [
        ("given", "mug", "b", "whole"),
        ("mine", "a", "b", "whole"),
    ]
    assert rows["pair_id"][1] == "p1"
    assert len(rows["pair_id"][0]) == 32
    pairs = pair_rows.read_pairs(rows, CONTENTS).pairs
    assert [pair.query for pair in pairs] == [Content("mug"), CONTENTS["a"]]


@pytest.mark.parametrize(("named", "answers"), [(None, {"a", "b"}), (["b"], {"b"}), ([], set())])
def test_answers_are_those_that_a_pair_names_or_all_of_its_query(tmp_path, named, answers):
    rows = [{"query_text": "mug", "target_item": "a"}, {"query_text": "mug", "target_item": "b"}]
    write(tmp_path, "pairs.jsonl", *({**row, "answers": named} for row in rows))
    (first, _) = pair_rows.read_pairs(read_pairs(tmp_path), CONTENTS).pairs
    assert first.answers == answers


def test_a_hard_negative_has_its_items_id_for_a_key_unless_it_names_another(tmp_path):
    write(
        tmp_path,
        "hard_negatives.jsonl",
        {"pair_id": "p", "item_id": "n"},
        {"pair_id": "p", "item_id": "a", "key": "mug"},
    )
    assert read_hard_negatives(tmp_path)["key"].to_list() == ["n", "mug"]


def test_everybody_who_wrote_rationales_is_a_worker(tmp_path):
    said = {"side": "query", "text": "it is red", "summary": "red"}
    write(
        tmp_path,
        "rationales.jsonl",
        {"worker": "second", "query_text": "mug", **said},
        {"worker": "first", "item_id": "a", **said},
        {"worker": "first", "item_id": "gone", **said},
    )
    first, second = read_workers(tmp_path, CONTENTS)
    assert (first.name, second.name) == ("first", "second")
    found = first.reason([CONTENTS["a"], Content("mug")], "query")
    assert found[0] == Rationale("it is red", "red")
    assert isinstance(found[1], NoRationale)
    assert second.reason([Content("mug")], "query") == [Rationale("it is red", "red")]
    write(tmp_path, "rationales.jsonl", {"worker": "first", "item_id": "a", **said, "text": "red"})
    assert read_workers(tmp_path, CONTENTS)[0].prompt_version != first.prompt_version


def test_files_from_windows_are_read(tmp_path):
    mark = b"\xef\xbb\xbf"
    row = b'{"query_text": "mug", "target_item": "b"}\r\n'
    (tmp_path / "pairs.jsonl").write_bytes(mark + row + b"\r\n" + mark + row)
    (tmp_path / "searches.jsonl").write_bytes(mark + b'{"request_id": "r", "text": "mug"}\r\n')
    (tmp_path / "vocabulary.txt").write_bytes(mark + b"red\r\n\r\nblue\r\n")
    assert read_pairs(tmp_path)["query_text"].to_list() == ["mug", "mug"]
    assert read_searches(tmp_path).rows() == [("r", "mug")]
    assert read_texts(tmp_path) == ["red", "blue"]

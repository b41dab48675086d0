"""Tests for ponder/small/wordnet.py: the files of Debian's package, read as wndb(5WN) says."""

import shutil

import pytest

from ponder.small.wordnet import common_words, read_wordnet


def test_a_synset_has_its_words_definition_examples_and_what_is_above_it_first(wordnet):
    sailor = wordnet.synsets["n00000001"]
    assert sailor.words == ("sailor",)
    assert sailor.definition == "someone who sails"
    assert sailor.examples == ("the sailor sang",)
    assert [one.words[0] for one in wordnet.neighbours(sailor)] == ["worker"]
    assert wordnet.synsets["n00000003"].words == ("boat", "kayak")


def test_satellites_are_adjectives_and_marks_behind_words_are_dropped(wordnet):
    assert wordnet.synsets["a00000020"].words == ("adjish",)


def test_kinds_are_first_senses_and_neither_names_nor_insults(wordnet):
    assert {one.key for one in wordnet.kinds("artifact")} == {"n00000003", "n00000004"}
    assert wordnet.kinds("location") == []
    assert wordnet.synsets["n00000010"].is_instance
    assert "n00000011" not in wordnet.synsets


def test_words_of_names_are_not_common(wordnet):
    assert {"sailor", "kayak", "adjish"} <= common_words(wordnet)
    assert "paris" not in common_words(wordnet)


def test_a_line_that_is_no_synset_is_named(wordnet_folder, tmp_path):
    shutil.copytree(wordnet_folder, tmp_path, dirs_exist_ok=True)
    with (tmp_path / "data.verb").open("a") as file:
        file.write("00000021 30 v xx broken | gloss\n")
    with pytest.raises(ValueError, match=r"data\.verb line 3 must be"):
        read_wordnet(tmp_path)


def test_a_missing_file_is_named_with_the_package_that_has_it(wordnet_folder, tmp_path):
    shutil.copytree(wordnet_folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "data.adv").unlink()
    with pytest.raises(FileNotFoundError, match=r"must hold data\.adv .*wordnet-base"):
        read_wordnet(tmp_path)

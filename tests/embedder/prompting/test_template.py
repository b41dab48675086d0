"""Tests for template.py: what a prompt looks like, and what content cannot do to it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedder.content import Content
from embedder.prompting.template import (
    PONDER_TOKENS,
    image_part,
    item_text,
    neutraliser,
    prompt,
    reasoned_answer,
)

CONTROL = [*PONDER_TOKENS, "<|im_start|>", "<|im_end|>", "<|image_pad|>", "<|endoftext|>"]


def test_a_prompt_without_an_image_has_no_vision_tokens():
    assert "vision" not in prompt("find", "red mugs")
    assert prompt("find", "red mugs", shown=image_part(3)).count("<|image_pad|>") == 3


def test_a_reasoned_answer_opens_with_the_gate_and_closes_with_the_embedding():
    answer = reasoned_answer("a bird has 2 wings", "2 mugs")
    assert answer == "<|reason|>a bird has 2 wings<|summary|>2 mugs<|emb|>"


def test_fields_an_item_lacks_leave_no_trace():
    assert item_text(None, None, None) == ""
    assert item_text("mug", "", "kitchen") == "mug\nkitchen"


@pytest.mark.parametrize("token", CONTROL)
def test_content_cannot_spell_a_control_token(inputs, token):
    plain = inputs.sample(Content("buy now"), "find")
    hostile = inputs.sample(Content(f"buy {token} now"), "find")
    ids = inputs.tokenizer.convert_tokens_to_ids(CONTROL)
    for control in ids:
        assert hostile.tokens.count(control) == plain.tokens.count(control)


@given(st.lists(st.sampled_from([*CONTROL, "<", "|", ">", "<|", "|>", "e", " "]), max_size=12))
def test_no_mixture_of_pieces_becomes_a_control_token(pieces):
    cleaned = neutraliser(CONTROL)("".join(pieces))
    assert not [token for token in CONTROL if token in cleaned]

"""Tests for embedder/encode.py: many contents, in order, in batches of a token budget."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedder.content import Content
from embedder.encode import EmbedderConfig, MMEmbR1, token_budget_batches
from embedder.inputs import Sample


def encoder(checkpoint, **options):
    return MMEmbR1(checkpoint, EmbedderConfig(**options))


@given(st.lists(st.integers(1, 90), max_size=60), st.integers(1, 200))
def test_batches_hold_every_row_once_and_keep_the_budget(lengths, budget):
    samples = [Sample([0] * length) for length in lengths]
    batches = list(token_budget_batches(samples, budget))
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or max(lengths[row] for row in batch) * len(batch) <= budget


def test_encodings_come_in_the_order_of_the_contents(checkpoint, picture):
    contents = [Content("kites " * n) for n in (9, 1, 5)] + [Content("", picture)]
    together = encoder(checkpoint, batch_tokens=40).encode_items(contents)
    for content, expected in zip(contents, together, strict=True):
        alone = encoder(checkpoint).encode_items([content])[0]
        np.testing.assert_allclose(alone.vector, expected.vector, atol=1e-5)


def test_vectors_are_float32_unit_vectors_of_the_stated_dim(checkpoint):
    model = encoder(checkpoint)
    (encoding,) = model.encode_query([Content("mugs")])
    assert encoding.vector.shape == (model.dim,)
    assert encoding.vector.dtype == np.float32
    assert np.linalg.norm(encoding.vector) == pytest.approx(1, abs=1e-6)


def test_query_and_item_instructions_differ(checkpoint):
    model = encoder(checkpoint)
    (query,) = model.encode_query([Content("mugs")])
    (item,) = model.encode_items([Content("mugs")])
    assert not np.allclose(query.vector, item.vector, atol=1e-3)


def test_a_call_may_overrule_the_configured_policy(checkpoint):
    model = encoder(checkpoint, policy="never")
    assert model.encode_query([Content("mugs")])[0].action == "direct"
    assert model.encode_query([Content("mugs")], policy="always")[0].action == "reason"


def test_progress_adds_up_to_the_number_of_items(checkpoint):
    done = []
    encoder(checkpoint, batch_tokens=64).encode_items([Content("mug")] * 7, progress=done.append)
    assert sum(done) == 7
    assert len(done) > 1


def test_text_beyond_the_limit_changes_nothing_and_text_before_it_does(checkpoint):
    model = encoder(checkpoint)
    limit = checkpoint.inputs.max_text_tokens
    full = "mug" + " mug" * (limit - 1)
    assert len(checkpoint.inputs.tokens(full)) == limit
    texts = [full, full + " kite", full + " mug" * 10_000, full.replace("mug", "kite", 1)]
    cut, longer, longest, other = (
        e.vector for e in model.encode_items([Content(t) for t in texts])
    )
    np.testing.assert_allclose(cut, longer, atol=1e-5)
    np.testing.assert_allclose(cut, longest, atol=1e-5)
    assert not np.allclose(cut, other, atol=1e-3)


def test_no_contents_give_no_encodings(checkpoint):
    assert encoder(checkpoint).encode_items([]) == []


def test_a_policy_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="policy must be auto, always or never, got 'maybe'"):
        EmbedderConfig(policy="maybe")

"""Tests for embedder/mmemb_r1.py: many contents, in order or as they are done, under one policy."""

import time
from dataclasses import replace
from itertools import count, islice

import numpy as np
import pytest

from catalog.images.check import ImageError
from embedder.content import Content, Failure
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1, default_workers
from embedder.model.checkpoint import Checkpoint
from tests.clips import bar_clip
from tests.sounds import tone_file


def encoder(checkpoint, **options):
    return MMEmbR1(checkpoint, EmbedderConfig(**options))


def test_encodings_come_in_the_order_of_the_contents(checkpoint, image):
    contents = [Content("kites " * n) for n in (9, 1, 5)] + [Content("", image)]
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


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("window", [1, 3, 100])
def test_neither_windows_nor_workers_change_a_vector(checkpoint, image, num_workers, window):
    contents = [Content("kites " * n, image if n % 2 else None) for n in range(7)]
    expected = encoder(checkpoint).encode_items(contents)
    tested = encoder(checkpoint, num_workers=num_workers, window=window, batch_tokens=40)
    for found, wanted in zip(tested.encode_items(contents), expected, strict=True):
        np.testing.assert_allclose(found.vector, wanted.vector, atol=1e-5)


def test_threads_beside_the_model_change_no_bit_of_a_vector(hearing, image):
    clips = [bar_clip(num_frames=number) for number in (2, 5, 9)]
    sounds = [tone_file(hz=hz, seconds=0.3, rate_hz=16_000) for hz in (300.0, 500.0, 900.0)]
    contents = [
        *[Content("kites " * n, image if n % 2 else None) for n in range(4)],
        *[Content("a bell", clip=clip) for clip in clips],
        *[Content("a bell", audio=sound) for sound in sounds],
        Content("a broken one", clip=b"no clip"),
        Content("all", image, clip=clips[0], audio=sounds[0]),
    ]
    alone, beside = (
        dict(encoder(hearing, num_workers=number, window=5).stream_items(contents))
        for number in (0, 2)
    )
    assert isinstance(alone.pop(10), Failure)
    assert isinstance(beside.pop(10), Failure)
    assert beside.keys() == alone.keys()
    for row, encoding in alone.items():
        np.testing.assert_array_equal(beside[row].vector, encoding.vector)


@pytest.mark.parametrize(
    ("is_on_cpu", "num_cores", "num_threads", "expected"),
    [
        *[(True, 2, 1, 2), (True, 1, 1, 0), (True, 8, 8, 0)],
        *[(False, 8, 8, 8), (False, 64, 1, 16), (False, 0, 1, 1)],
    ],
)
def test_threads_prepare_where_the_model_leaves_them_a_core(
    is_on_cpu, num_cores, num_threads, expected
):
    found = default_workers(is_on_cpu=is_on_cpu, num_cores=num_cores, num_threads=num_threads)
    assert found == expected


def test_a_process_among_more_than_there_are_cores_prepares_by_itself(checkpoint):
    crowded = encoder(checkpoint, num_processes=10_000)
    assert crowded._engine._prefetch.num_workers == 0
    assert crowded._engine._prefetch.slow_window is None


def test_what_the_model_has_waited_for_is_counted(checkpoint):
    def drawn():
        time.sleep(0.2)
        yield Content("a kite")

    model = encoder(checkpoint)
    assert model.waited_s == 0
    began = time.monotonic()
    assert len(list(model.stream_items(drawn()))) == 1
    assert 0.2 <= model.waited_s < time.monotonic() - began


def test_direct_and_reasoned_ones_in_one_call_equal_those_of_two_calls(checkpoint, image):
    contents = [Content("kites " * n, image if n % 2 else None) for n in range(8)]
    by_policy = {
        "direct": encoder(checkpoint).encode_items(contents, policy="never"),
        "reason": encoder(checkpoint).encode_items(contents, policy="always"),
    }
    mixed = encoder(checkpoint, num_slots=2, batch_tokens=64).encode_items(contents)
    assert {encoding.action for encoding in mixed} == {"direct", "reason"}
    for row, encoding in enumerate(mixed):
        expected = by_policy[encoding.action][row]
        np.testing.assert_allclose(encoding.vector, expected.vector, atol=1e-5)


def test_a_stream_may_be_endless(checkpoint):
    model = encoder(checkpoint, window=4)
    drawn = islice(model.stream_items(Content(f"mug {n}") for n in count()), 10)
    assert sorted(row for row, _ in drawn) == list(range(10))


def test_a_stream_tells_failures_where_a_list_raises_them(checkpoint):
    contents = [Content("mug"), Content("", b"not an image")]
    answers = dict(encoder(checkpoint).stream_items(contents))
    assert isinstance(answers[1], Failure)
    assert "must be a whole PNG" in answers[1].reason
    with pytest.raises(ImageError):
        encoder(checkpoint).encode_items(contents)


def test_a_query_whose_deadline_has_passed_is_answered_directly_and_says_so(checkpoint):
    model = encoder(checkpoint, policy="always")
    (expected,) = model.encode_query([Content("mugs")], policy="never")
    (encoding,) = model.encode_query([Content("mugs")], deadline_s=0.0)
    assert encoding.action == "direct"
    assert encoding.fallback
    assert encoding.out_of_time
    assert not expected.out_of_time
    np.testing.assert_allclose(encoding.vector, expected.vector, atol=1e-5)
    assert not expected.fallback


def test_the_token_budget_of_a_query_reaches_the_decoder(checkpoint):
    model = encoder(checkpoint, policy="always")
    (short,) = model.encode_query([Content("mugs")], max_new_tokens=2)
    (long,) = model.encode_query([Content("mugs")])
    assert (short.rationale_tokens, short.action) == (1, "reason")  # and the embedding token
    assert long.rationale_tokens > 1


def test_another_decoder_answers_for_what_the_gate_sends_to_it(checkpoint):
    class Echo:
        """Answers with the direct vector and the content's own words."""

        needs_past = False

        def decode(self, gated, task):
            for one in gated:
                assert one.past_Y2KLD is None
                yield one.row, replace(one.answer, action="reason", rationale=one.content.text)

    model = MMEmbR1(checkpoint, EmbedderConfig(policy="always"), decoder=Echo())
    encodings = model.encode_query([Content("mugs"), Content("kites")])
    assert [encoding.rationale for encoding in encodings] == ["mugs", "kites"]


@pytest.mark.parametrize(
    "options",
    [
        {"batch_tokens": 0},
        {"window": 0},
        {"num_slots": 0},
        {"num_workers": -1},
        {"num_processes": 0},
    ],
)
def test_a_size_that_is_too_small_is_refused(options):
    with pytest.raises(ValueError, match="must be at least"):
        EmbedderConfig(**options)


@pytest.mark.parametrize(
    ("hidden_size", "asked", "num_slots"), [(511, None, 256), (512, None, 128), (512, 300, 300)]
)
def test_a_large_model_on_a_cpu_decodes_fewer_rationales_at_once_unless_asked(
    checkpoint, monkeypatch, hidden_size, asked, num_slots
):
    monkeypatch.setattr(Checkpoint, "hidden_size", hidden_size)
    decoder = MMEmbR1(checkpoint, EmbedderConfig(num_slots=asked))._decoder
    assert decoder.empty_batch()._slots.value == num_slots

"""Tests for embedder/items.py: rows in, rows out, and one bad item among good ones."""

import itertools

import numpy as np
import polars as pl
import pytest

from catalog.lake.tables import EMBEDDINGS, ITEMS, RATIONALES
from embedder.content import Encoding, Failure
from embedder.items import embed_items, item_content, stream_embedded
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from tests.clips import bar_clip
from tests.sounds import tone_file

COLUMNS = {"title": "3 mugs", "text": None, "category": "kitchen", "tags": [], "deleted": False}


@pytest.fixture(scope="module")
def encoder(checkpoint):
    return MMEmbR1(checkpoint, EmbedderConfig())


def items(**image_hashes):
    rows = [
        COLUMNS | {"item_id": item_id, "content_hash": f"h-{item_id}", "image_hash": image_hash}
        for item_id, image_hash in image_hashes.items()
    ]
    return pl.DataFrame(rows, schema=ITEMS.schema)


def test_rows_have_the_tables_columns_and_the_encoders_vectors(encoder, image):
    rows = items(a=None, b="pic")
    embedded = embed_items(rows, {"pic": image}, encoder)
    assert embedded.embeddings.schema == EMBEDDINGS.schema
    assert embedded.rationales.schema == RATIONALES.schema
    assert embedded.embeddings["item_id"].to_list() == ["a", "b"]
    assert set(embedded.embeddings["model_version"]) == {encoder.version}
    for row, data in zip(rows.iter_rows(named=True), (None, image), strict=True):
        expected = encoder.encode_items([item_content(row, {"pic": data})])[0].vector
        got = embedded.embeddings.filter(item_id=row["item_id"])["vector"][0].to_numpy()
        np.testing.assert_allclose(got, expected, atol=1e-5)


def test_an_unreadable_image_fails_its_item_and_no_other(encoder, image):
    rows = items(good="pic", corrupt="bad", lost="nowhere")
    embedded = embed_items(rows, {"pic": image, "bad": b"not an image"}, encoder)
    assert embedded.embeddings["item_id"].to_list() == ["good"]
    assert set(embedded.failures) == {"corrupt", "lost"}
    assert "must be a whole PNG" in embedded.failures["corrupt"]
    assert "land the item again" in embedded.failures["lost"]


def test_a_rationale_is_kept_for_each_item_that_was_reasoned_about(checkpoint):
    encoder = MMEmbR1(checkpoint, EmbedderConfig(policy="always"))
    embedded = embed_items(items(a=None, b=None), {}, encoder)
    assert embedded.rationales["item_id"].to_list() == ["a", "b"]
    assert set(embedded.embeddings["action"]) == {"reason"}
    tokens = embedded.embeddings["rationale_tokens"]
    assert embedded.rationales["tokens"].to_list() == tokens.to_list()


def test_rationales_belong_to_the_version_and_not_to_its_name(checkpoint):
    """A retrained model of the same name would otherwise find the old one's in the lake."""
    encoder = MMEmbR1(checkpoint, EmbedderConfig(policy="always"))
    embedded = embed_items(items(a=None), {}, encoder)
    assert embedded.rationales["reasoner"].to_list() == [encoder.version]
    assert encoder.version != encoder.name


def test_no_items_give_empty_tables(encoder):
    embedded = embed_items(ITEMS.empty(), {}, encoder)
    assert embedded.embeddings.is_empty()
    assert embedded.rationales.is_empty()
    assert embedded.failures == {}


class Ticking:
    """An encoder that takes a second for each item, and fails on one."""

    version, reasoner, prompt_version = "ticking-1", "none", 0

    def __init__(self):
        self.now = 0.0

    def stream_items(self, contents, *, policy=None):
        for number, content in reversed(list(enumerate(contents))):
            self.now += 1.0
            if content.text.splitlines()[0] == "c":
                yield number, Failure(ValueError("no c"))
            else:
                yield number, Encoding(np.array([number, 1.0]), "direct", 0.0)


def test_what_is_done_comes_in_parts_whenever_the_time_has_passed():
    encoder, done = Ticking(), []
    rows = items(a=None, b=None, c=None, d=None, e=None)
    rows = rows.with_columns(title=pl.col("item_id"))
    parts = stream_embedded(
        rows, {}, encoder, every_s=2.0, progress=done.append, clock=lambda: encoder.now
    )
    found = [(part.embeddings["item_id"].to_list(), part.failures) for part in parts]
    assert found == [(["d", "e"], {}), (["b"], {"c": "ValueError: no c"}), (["a"], {})]
    assert sum(done) == 5


def test_an_item_is_read_with_all_that_it_shows_and_fails_when_a_part_is_lost(encoder, image):
    clip = bar_clip(num_frames=6)
    rows = items(a="pic", b=None, c="pic").with_columns(
        gallery_hashes=pl.Series([["pic2", "pic"], None, ["gone"]]),
        video_hash=pl.Series(["film", "film", None]),
        audio_hash=pl.Series(["bell", None, None]),
    )
    media = {"pic": image, "pic2": image + b"\0", "film": clip, "bell": b"sound"}
    first, second, _ = (item_content(row, media) for row in rows.iter_rows(named=True))
    assert (first.image, first.gallery, first.clip) == (image, (image + b"\0", image), clip)
    assert (second.image, second.gallery, second.clip) == (None, (), clip)
    assert (first.audio, second.audio) == (b"sound", None)
    embedded = embed_items(rows, media, encoder)
    assert embedded.embeddings["item_id"].to_list() == ["a", "b"]
    assert embedded.failures == {"c": "the lake has no media gone; land the item again"}
    del media["bell"]
    lost = embed_items(rows, media, encoder).failures["a"]
    assert lost == "the lake has no media bell; land the item again"


def test_the_sound_of_an_item_is_heard_and_one_that_is_none_fails_its_item_alone(hearing):
    encoder = MMEmbR1(hearing, EmbedderConfig(policy="never"))
    rows = items(a=None, b=None, c=None, d=None).with_columns(
        title=pl.lit("a bell"), audio_hash=pl.Series(["low", "high", None, "bad"])
    )
    low, high = (tone_file(hz=hz, seconds=0.2, rate_hz=16_000) for hz in (300, 1_500))
    embedded = embed_items(rows, {"low": low, "high": high, "bad": b"no sound"}, encoder)
    vectors = np.array(embedded.embeddings["vector"].to_list())
    assert embedded.embeddings["item_id"].to_list() == ["a", "b", "c"]
    for one, other in itertools.combinations(vectors, 2):
        assert np.abs(one - other).max() > 1e-3
    assert "must be a WAV, FLAC, Ogg or MP3" in embedded.failures["d"]


def test_a_clip_that_cannot_be_read_fails_its_item_alone(encoder):
    rows = items(a=None, b=None).with_columns(video_hash=pl.Series(["film", "bad"]))
    embedded = embed_items(rows, {"film": bar_clip(num_frames=3), "bad": b"no clip"}, encoder)
    assert embedded.embeddings["item_id"].to_list() == ["a"]
    assert "must be an MP4, WebM or GIF" in embedded.failures["b"]

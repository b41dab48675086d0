"""Tests for local.py: greedy, in batches, by an MMEmb-R1 or any Qwen-VL model."""

import dataclasses

import pytest
import torch

from embedder.content import Content
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from embedder.model.checkpoint import load
from embedder.prompting.template import prompt
from embedder.reasoners.config import LocalConfig
from embedder.reasoners.local import LocalReasoner
from embedder.reasoners.prompt import INSTRUCTIONS, read_answer
from embedder.reasoners.reasoner import NoRationale, Rationale


@pytest.fixture(scope="module")
def nano():
    return load("nano")


def local(checkpoint, **options):
    return LocalReasoner(checkpoint, LocalConfig(model=str(checkpoint.folder), **options))


def test_nano_as_a_reasoner_writes_what_nano_writes_by_itself(nano, image):
    contents = [
        Content("as many mugs as a bicycle has wheels"),
        Content("", image),
        Content("a boat in the colour of grass"),
    ]
    own = MMEmbR1(nano, EmbedderConfig()).encode_query(contents, policy="always")
    written = local(nano, batch_size=2).reason(contents, "query")
    assert [(w.text, w.summary) for w in written] == [(e.rationale, e.summary) for e in own]


def test_a_model_that_is_no_embedder_is_asked_in_words_and_decodes_greedily(checkpoint):
    """The reference keeps no cache: it reads the whole sequence anew for every token."""
    stock = dataclasses.replace(checkpoint, gate_is_trained=False)
    inputs, content = stock.inputs, Content("3 red mugs")
    ids = inputs.tokens(prompt(INSTRUCTIONS["query"], content.text))
    barred = [t for t in inputs.forbidden_ids if t != inputs.tokenizer.eos_token_id]
    generated = []
    with torch.no_grad():
        for _ in range(6):
            logits = stock.backbone.model(input_ids=torch.tensor([ids + generated])).logits[0, -1]
            logits[barred] = float("-inf")
            generated.append(int(logits.argmax()))
    (written,) = local(stock, max_tokens=6).reason([content], "query")
    assert written == read_answer(inputs.decode(generated), num_tokens=6)


def test_a_text_after_images_is_reasoned_about_as_if_alone(checkpoint, image):
    """Positions of the last batch with images must not leak into the next."""
    reasoner = local(checkpoint, max_tokens=12, batch_size=1)
    (alone,) = reasoner.reason([Content("3 red mugs")], "item")
    mixed = reasoner.reason([Content("", image), Content("3 red mugs")], "item")
    assert mixed[1] == alone


def test_a_sound_is_passed_over_beside_a_text_and_alone_is_no_content(hearing):
    reasoner = local(hearing, max_tokens=4)
    with_sound, without, alone = reasoner.reason(
        [Content("mugs", audio=b"s"), Content("mugs"), Content(audio=b"s")], "item"
    )
    assert with_sound == without
    assert "reads no sounds" in alone.reason


def test_an_unreadable_image_fails_its_content_and_no_other(checkpoint):
    bad, good = local(checkpoint, max_tokens=4).reason(
        [Content("", b"not an image"), Content("mugs")], "item"
    )
    assert isinstance(bad, NoRationale)
    assert isinstance(good, Rationale)
    assert good.num_tokens <= 4


def test_its_name_is_known_without_loading_it(checkpoint, folder):
    config = LocalConfig(model=str(folder))
    assert local(checkpoint).name == config.name
    assert config.name.startswith("model:nano-")
    shorter = LocalConfig(model=str(folder), max_tokens=9)
    assert shorter.prompt_version != config.prompt_version


@pytest.mark.parametrize("options", [{"max_tokens": 0}, {"batch_size": 0}, {"model": ""}])
def test_a_configuration_that_cannot_work_is_refused(options):
    with pytest.raises(ValueError, match="must"):
        LocalConfig(**{"model": "nano"} | options)


def test_no_contents_need_no_reasoning(checkpoint):
    assert local(checkpoint).reason([], "item") == []


def test_what_is_drawn_depends_on_content_and_seed_and_not_on_the_batch(checkpoint):
    contents = [Content(f"{n} red mugs in the colour of grass"[: 12 + n]) for n in range(5)]
    drawing = local(checkpoint, max_tokens=8, temperature=1.0, seed=1)
    together = drawing.reason(contents, "query")
    assert [drawing.reason([content], "query")[0] for content in contents] == together
    others = local(checkpoint, max_tokens=8, temperature=1.0, seed=2)
    assert others.reason(contents, "query") != together
    assert others.prompt_version != drawing.prompt_version

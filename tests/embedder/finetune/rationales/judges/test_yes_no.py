"""Tests for yes_no.py: the reference is one plain forward a input."""

import numpy as np
import pytest
import torch

from embedder.content import Content
from embedder.finetune.rationales.judges.judge import JudgeInput
from embedder.finetune.rationales.judges.prompt import SYSTEM
from embedder.finetune.rationales.judges.yes_no import YesNoConfig, YesNoJudge
from embedder.prompting.template import EMB, IMAGE_PAD
from embedder.reasoners.reasoner import Rationale

QUERY, TARGET = Content("red mugs"), Content("3 red mugs")
RATIONALE = Rationale("a reason", "three mugs")
# The untrained nano knows no "yes": any two words of one token show what is read.
CONFIG = YesNoConfig(yes="red", no="mugs", batch_size=2)


def prompt(query, target, *, about_query="", about_item=""):
    return (
        f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n"
        "<Instruct>: Given a search query, retrieve relevant candidates that answer the query."
        f"<Query>:{query}{about_query}\n<Document>:{target}{about_item}"
        "<|im_end|>\n<|im_start|>assistant\n"
    )


@torch.no_grad()
def forward(checkpoint, text):
    inputs = checkpoint.inputs
    tokens = torch.tensor([inputs.tokens(text)])
    logits = checkpoint.backbone.model(input_ids=tokens).logits[0, -1]
    yes, no = (inputs.tokens(word)[0] for word in (CONFIG.yes, CONFIG.no))
    return float(logits[yes] - logits[no])


def test_odds_are_the_difference_of_two_logits_after_the_rerankers_prompt(checkpoint):
    (z,) = YesNoJudge(checkpoint, CONFIG).log_odds([JudgeInput(QUERY, TARGET, "query")])
    assert z == pytest.approx(forward(checkpoint, prompt("red mugs", "3 red mugs")), abs=1e-4)


def test_images_of_both_sides_are_read_where_they_stand(checkpoint, image, wide_image):
    """The reference is one forward of transformers over the whole prompt with both images."""
    inputs = checkpoint.inputs
    seen = [Content("red mugs", image), Content("3 red mugs", wide_image)]
    (z,) = YesNoJudge(checkpoint, CONFIG).log_odds([JudgeInput(*seen, "query")])
    samples = [inputs.sample(content, "") for content in seen]
    pads = [IMAGE_PAD * sample.tokens.count(inputs.tokens(IMAGE_PAD)[0]) for sample in samples]
    shown = [
        f"<|vision_start|>{pad}<|vision_end|>{content.text}"
        for pad, content in zip(pads, seen, strict=True)
    ]
    batches = [inputs.batch([sample]) for sample in samples]
    tokens = torch.tensor([inputs.tokens(prompt(*shown))])
    with torch.no_grad():
        logits = checkpoint.backbone.model(
            input_ids=tokens,
            mm_token_type_ids=(tokens == inputs.tokens(IMAGE_PAD)[0]).long(),
            pixel_values=torch.cat([batch.patches_PV for batch in batches]),
            image_grid_thw=torch.cat([batch.grids for batch in batches]),
        ).logits[0, -1]
    yes, no = (inputs.tokens(word)[0] for word in (CONFIG.yes, CONFIG.no))
    assert z == pytest.approx(float(logits[yes] - logits[no]), abs=1e-4)


def test_a_rationale_stands_after_what_it_is_about(checkpoint):
    judge_inputs = [JudgeInput(QUERY, TARGET, side, RATIONALE) for side in ("query", "item")]
    odds = YesNoJudge(checkpoint, CONFIG).log_odds(judge_inputs)
    told = "a reason three mugs"
    about_query = f"\n<Reasoning about the Query>:{told}"
    about_item = f"\n<Reasoning about the Document>:{told}"
    expected = [
        forward(checkpoint, prompt("red mugs", "3 red mugs", about_query=about_query)),
        forward(checkpoint, prompt("red mugs", "3 red mugs", about_item=about_item)),
    ]
    np.testing.assert_allclose(odds, expected, atol=1e-4)


def test_untrusted_text_cannot_spell_a_control_token(checkpoint):
    judge_input = JudgeInput(Content(f"red {EMB}"), TARGET, "query", Rationale(f"so {EMB}"))
    (z,) = YesNoJudge(checkpoint, CONFIG).log_odds([judge_input])
    about_query = "\n<Reasoning about the Query>:so < |emb|>"
    text = prompt("red < |emb|>", "3 red mugs", about_query=about_query)
    assert z == pytest.approx(forward(checkpoint, text), abs=1e-4)


def test_a_text_that_is_too_long_is_cut_to_what_an_embedder_reads(checkpoint):
    most = checkpoint.inputs.max_text_tokens
    long = "mugs " * (most + 5)
    cut = checkpoint.inputs.tokenizer.decode(checkpoint.inputs.tokens(long)[:most])
    assert len(cut) < len(long)
    (z,) = YesNoJudge(checkpoint, CONFIG).log_odds([JudgeInput(Content(long), TARGET, "query")])
    assert z == pytest.approx(forward(checkpoint, prompt(cut, "3 red mugs")), abs=1e-4)


def test_odds_depend_neither_on_the_batch_nor_on_images_of_others(checkpoint, image):
    seen = Content("", image)
    judge_inputs = [
        JudgeInput(seen, Content("3 red mugs", image), "query", RATIONALE),
        JudgeInput(QUERY, TARGET, "item"),
        JudgeInput(QUERY, seen, "query"),
        JudgeInput(seen, TARGET, "item", RATIONALE),
        JudgeInput(QUERY, Content("a kite " * 9), "query"),
    ]
    judge = YesNoJudge(checkpoint, CONFIG)
    together = judge.log_odds(judge_inputs)
    alone = [judge.log_odds([judge_input])[0] for judge_input in judge_inputs]
    np.testing.assert_allclose(together, alone, atol=1e-4)
    np.testing.assert_allclose(judge.log_odds(judge_inputs[::-1])[::-1], together, atol=1e-4)
    assert len({round(z, 3) for z in together}) == len(judge_inputs)


def test_a_vocabulary_without_the_words_is_refused(checkpoint):
    with pytest.raises(ValueError, match="'yes' must be one token of 'nano'"):
        YesNoJudge(checkpoint, YesNoConfig())


def test_a_batch_holds_at_least_one_case():
    with pytest.raises(ValueError, match="must be at least 1"):
        YesNoConfig(batch_size=0)

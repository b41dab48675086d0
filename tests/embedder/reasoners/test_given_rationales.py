"""Tests for given_rationales.py: rationales of others, read as if they were the model's own."""

import numpy as np
import torch

from embedder.content import Content
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from embedder.model.checkpoint import load
from embedder.prompting.template import prompt, reasoned_answer
from embedder.reasoners.given_rationales import encode_with_rationales
from embedder.reasoners.reasoner import Rationale

CONTENTS = [Content("as many mugs as a bicycle has wheels"), Content("kites")]
RATIONALES = [Rationale("a bicycle has 2 wheels", "2 mugs"), Rationale("nothing to infer", "kites")]


def test_vectors_equal_a_plain_forward_of_prompt_and_answer(checkpoint):
    vectors = encode_with_rationales(checkpoint, CONTENTS, RATIONALES, side="query")
    for content, rationale, vector in zip(CONTENTS, RATIONALES, vectors, strict=True):
        text = prompt(checkpoint.manifest.query_instruction, content.text)
        text += reasoned_answer(rationale.text, rationale.summary)
        ids = torch.tensor([checkpoint.inputs.tokens(text)])
        with torch.no_grad():
            output = checkpoint.backbone.model(input_ids=ids, output_hidden_states=True)
        state = output.hidden_states[-1][0, -1]
        np.testing.assert_allclose(vector, (state / state.norm()).numpy(), atol=1e-5)


def test_a_models_own_rationale_gives_the_vector_that_it_gave_itself(image):
    """Of the trained nano: an untrained one writes what is tokenised otherwise."""
    nano = load("nano")
    contents = [*CONTENTS, Content("a boat in the colour of grass"), Content("", image)]
    own = MMEmbR1(nano, EmbedderConfig()).encode_items(contents, policy="always")
    rationales = [Rationale(e.rationale, e.summary) for e in own]
    assert all(rationale.summary for rationale in rationales)
    vectors = encode_with_rationales(nano, contents, rationales, side="item")
    for encoding, vector in zip(own, vectors, strict=True):
        np.testing.assert_allclose(vector, encoding.vector, atol=1e-5)


def test_a_vector_does_not_depend_on_its_batch(checkpoint, image):
    contents = [*CONTENTS, Content("", image)]
    rationales = [*RATIONALES, Rationale("the label says acme", "3 red mugs")]
    together = encode_with_rationales(checkpoint, contents, rationales, side="item", batch_size=2)
    for content, rationale, vector in zip(contents, rationales, together, strict=True):
        alone = encode_with_rationales(checkpoint, [content], [rationale], side="item")[0]
        np.testing.assert_allclose(alone, vector, atol=1e-5)


def test_no_contents_give_no_vectors(checkpoint):
    hidden_size = checkpoint.backbone.model.config.text_config.hidden_size
    assert encode_with_rationales(checkpoint, [], [], side="query").shape == (0, hidden_size)

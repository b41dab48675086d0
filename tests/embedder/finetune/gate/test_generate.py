"""Tests for embedder/finetune/gate/generate.py: what is drawn, from which distribution."""

from collections import Counter
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from embedder.content import Content
from embedder.finetune.gate.generate import is_well_formed, roll_out
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from embedder.model.checkpoint import load
from embedder.prompting.answers import rationale_answer
from embedder.reasoners.cache import content_key
from embedder.reasoners.config import LocalConfig
from embedder.reasoners.local import LocalReasoner


@pytest.fixture(scope="module")
def samples(inputs, image):
    contents = [Content("3 red mugs"), Content("kites", image), Content("in the sky")]
    return [inputs.sample(content, "find the item") for content in contents]


def rolled(backbone, inputs, samples, counts, *, seed="0", **changes):
    options = {"max_new_tokens": 6, "temperature": 1.0} | changes
    seeds = [
        [f"{seed}/{sample.tokens}/{n}" for n in range(many)]
        for sample, many in zip(samples, counts, strict=True)
    ]
    return roll_out(backbone, inputs, samples, seeds, **options)


def test_the_first_token_is_drawn_from_the_models_own_distribution(
    backbone, inputs, samples, plain_forward
):
    """2,000 draws; the reference is transformers' own forward."""
    drawn = rolled(backbone, inputs, samples[1:2], [2000], max_new_tokens=2, temperature=0.7)[0]
    _, logits = plain_forward(samples[1], [inputs.reason_id])
    logits = logits[-1] / 0.7
    logits[inputs.forbidden_ids] = float("-inf")
    probability = F.softmax(logits, dim=-1)
    counts = Counter(answer[1] for answer in drawn)
    assert not set(counts) & set(inputs.forbidden_ids)
    for token in probability.topk(5).indices.tolist():
        p = probability[token].item()
        four_deviations = 4 * (p * (1 - p) / 2000) ** 0.5
        assert counts[token] / 2000 == pytest.approx(p, abs=four_deviations)


def test_a_rollout_does_not_depend_on_what_it_is_decoded_with(backbone, inputs, samples):
    together = rolled(backbone, inputs, samples, [2, 0, 3])
    assert [len(answers) for answers in together] == [2, 0, 3]
    assert rolled(backbone, inputs, samples[:1], [1])[0] == together[0][:1]
    assert rolled(backbone, inputs, samples, [2, 1, 3])[2] == together[2]
    assert rolled(backbone, inputs, samples, [2, 0, 3], seed="1") != together


def test_where_memory_runs_out_fewer_are_decoded_at_once_and_the_same_is_drawn(
    backbone, inputs, samples
):
    class ShortOfMemory:
        """Text layers that cannot decode more than two sequences at once."""

        empty_past = backbone.text.empty_past

        def step(self, ids, positions, cache):
            states = backbone.text.step(ids, positions, cache)
            if len(ids) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return states

    short = SimpleNamespace(
        model=backbone.model,
        device=backbone.device,
        prefill=backbone.prefill,
        logits=backbone.logits,
        text=ShortOfMemory(),
    )
    expected = rolled(backbone, inputs, samples, [2, 0, 3])
    assert rolled(short, inputs, samples, [2, 0, 3]) == expected


def test_answers_run_from_the_gate_to_the_embedding_token(backbone, inputs, samples):
    for answers in rolled(backbone, inputs, samples, [4, 4, 4]):
        for answer in answers:
            assert answer[0] == inputs.reason_id
            assert answer.index(inputs.emb_id) == len(answer) - 1 <= 6


def test_at_a_low_temperature_the_model_says_what_it_says_when_it_chooses():
    nano = load("nano")
    # The shortest first: its slot is taken over by another when it leaves.
    texts = ["3 red mugs", "as many hats as a bicycle has wheels", "kites in the colour of grass"]
    contents = [Content(text) for text in texts]
    chosen = MMEmbR1(nano, EmbedderConfig(policy="always")).encode_query(contents)
    samples = [nano.inputs.sample(x, nano.manifest.query_instruction) for x in contents]
    drawn = rolled(
        nano.backbone, nano.inputs, samples, [1] * 3, max_new_tokens=64, temperature=0.01
    )
    for (answer,), encoding in zip(drawn, chosen, strict=True):
        said = rationale_answer(nano.inputs, encoding.rationale, encoding.summary)
        assert nano.inputs.decode(answer) == nano.inputs.decode(said)
        assert len(answer) - 2 == encoding.rationale_tokens


def test_a_rollout_is_what_the_same_model_writes_as_a_worker_with_the_same_seed():
    """Two decoders, the slots' and that of transformers, draw with one function.

    Their logits differ in the last digits, so of very many draws one falls between them.
    """
    nano, seed = load("nano"), 7
    contents = [Content("3 red mugs"), Content("as many hats as a bicycle has wheels")]
    config = LocalConfig(model="nano", max_tokens=96, temperature=0.7, seed=seed)
    written = LocalReasoner(nano, config).reason(contents, "query")
    samples = [nano.inputs.sample(x, nano.manifest.query_instruction) for x in contents]
    seeds = [[f"{seed}/{content_key(content)}"] for content in contents]
    rolled_out = roll_out(
        nano.backbone, nano.inputs, samples, seeds, max_new_tokens=96, temperature=0.7
    )
    for (answer,), rationale in zip(rolled_out, written, strict=True):
        said = nano.inputs.decode(answer)
        assert said == nano.inputs.decode(
            rationale_answer(nano.inputs, rationale.text, rationale.summary)
        )


def test_form_needs_one_summary_and_an_end_of_its_own(inputs):
    whole = rationale_answer(inputs, "grass is green", "mugs")
    without = tuple(token for token in whole if token != inputs.summary_id)
    twice = (*whole[:-1], inputs.summary_id, inputs.emb_id)
    assert is_well_formed(whole, inputs, max_new_tokens=len(whole))
    assert not is_well_formed(whole, inputs, max_new_tokens=len(whole) - 1)  # may have been closed
    assert not is_well_formed(without, inputs, max_new_tokens=64)
    assert not is_well_formed(twice, inputs, max_new_tokens=64)

"""Tests for embedder/finetune/training/joint_loss.py and the gradient cache that it goes by."""

import math
from dataclasses import replace
from statistics import fmean

import pytest
import torch
import torch.nn.functional as F

from embedder.content import Content
from embedder.finetune.data.pairs import Negative, Pair
from embedder.finetune.records import WeightedRationale
from embedder.finetune.training.cached_forward import CachedForward
from embedder.finetune.training.config import JointLossConfig
from embedder.finetune.training.forward import PromptWithAnswers, forward
from embedder.finetune.training.joint_loss import JointLoss, SampledExample
from embedder.finetune.training.losses import matryoshka_info_nce
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from embedder.prompting.answers import direct_answer, rationale_answer

DIMS = (32, 64, 128)
OFF = {
    "direct_direct": 0.0,
    "reason_reason": 0.0,
    "reason_direct": 0.0,
    "direct_reason": 0.0,
    "next_token": 0.0,
    "gate": 0.0,
}


def rationale(text, summary="hats"):
    return WeightedRationale(text, summary)


@pytest.fixture(scope="module")
def examples(pairs):
    hard = (Negative(Content("a hat in the sky"), "none"),)
    return [
        SampledExample(
            pairs[0], rationale("grass is green"), rationale("the label says echo", "2 red mugs")
        ),
        SampledExample(pairs[1], rationale("a zebra is striped"), None),
        SampledExample(replace(pairs[2], negatives=hard), None, rationale("the label says dune")),
        SampledExample(pairs[3]),
    ]


def losses(checkpoint, examples, *, swapped=False, **changes):
    """Weighted losses and the gradient of all parameters, one after the other."""
    backbone = checkpoint.backbone.requires_grad_(True)
    config = JointLossConfig(**OFF | {"false_negative_margin": None} | changes)
    objective = JointLoss(CachedForward(backbone, checkpoint.inputs), checkpoint.manifest, config)
    found = objective.backward(examples, swapped=swapped)
    return found, [parameter.grad for parameter in backbone.parameters()]


@pytest.fixture(scope="module")
def vectors(checkpoint, examples):
    """Embeddings of every side in every mode, each read alone."""
    ids = checkpoint.inputs

    def embedded(content, instruction, chosen):
        answer = (
            direct_answer(ids)
            if chosen is None
            else rationale_answer(ids, chosen.text, chosen.summary)
        )
        with torch.no_grad():
            prompted = PromptWithAnswers(ids.sample(content, instruction), (answer,))
            return forward(checkpoint.backbone, ids, [prompted]).vectors_NH[0]

    query, item = checkpoint.manifest.query_instruction, checkpoint.manifest.item_instruction
    hard = embedded(examples[2].pair.negatives[0].content, item, None)
    return {
        "query direct": [embedded(x.pair.query, query, None) for x in examples],
        "query reasoned": [embedded(x.pair.query, query, x.query_rationale) for x in examples],
        "target direct": [*(embedded(x.pair.target, item, None) for x in examples), hard],
        "target reasoned": [
            *(embedded(x.pair.target, item, x.target_rationale) for x in examples),
            hard,
        ],
    }


@pytest.mark.parametrize(
    ("name", "query", "target", "rows"),
    [
        ("direct_direct", "query direct", "target direct", [0, 1, 2, 3]),
        ("reason_reason", "query reasoned", "target reasoned", [0, 1, 2]),
        ("reason_direct", "query reasoned", "target direct", [0, 1]),
        ("direct_reason", "query direct", "target reasoned", [0, 2]),
    ],
)
def test_each_contrast_is_between_the_modes_that_it_names(
    fresh, examples, vectors, name, query, target, rows
):
    found, _ = losses(fresh(), examples, **{name: 3.0})
    order = rows + [row for row in range(5) if row not in rows]
    left_out = torch.zeros(len(rows), 5, dtype=torch.bool)
    left_out[:, order.index(4)] = torch.tensor([row != 2 for row in rows])  # example 2's own
    expected = matryoshka_info_nce(
        torch.stack(vectors[query])[rows],
        torch.stack(vectors[target])[order],
        dims=DIMS,
        contrastive_temperature=0.05,
        is_false_negative_BN=left_out,
    )
    assert set(found) == {name}
    assert found[name] == pytest.approx(3 * expected.item() * len(rows) / 4, rel=1e-4)


def test_the_next_token_loss_is_a_mean_over_tokens_so_long_rationales_count_by_their_length(
    fresh, checkpoint, examples, plain_forward
):
    found, _ = losses(fresh(), examples, next_token=2.0)
    ids, manifest = checkpoint.inputs, checkpoint.manifest
    sided = [(x.pair.query, manifest.query_instruction, x.query_rationale) for x in examples]
    sided += [(x.pair.target, manifest.item_instruction, x.target_rationale) for x in examples]
    surprises = []
    for content, instruction, chosen in sided:
        if chosen is not None:
            sample = ids.sample(content, instruction)
            answer = rationale_answer(ids, chosen.text, chosen.summary)
            _, logits = plain_forward(sample, answer, checkpoint.backbone, ids)
            logits = logits[len(sample) : -1]
            surprises.append(F.cross_entropy(logits, torch.tensor(answer[1:]), reduction="none"))
    assert len(surprises) == 4
    assert found["next_token"] == pytest.approx(2 * torch.cat(surprises).mean().item(), rel=1e-4)


@pytest.mark.parametrize("sure", [1.0, 0.9])
def test_both_kinds_of_gate_labels_weigh_the_same_however_rare_one_is(
    fresh, checkpoint, pairs, sure
):
    examples = [
        SampledExample(pairs[0], rationale("grass is green")),
        *map(SampledExample, pairs[1:4]),
    ]
    found, _ = losses(fresh(), examples, gate=1.0, gate_confidence=sure)
    model = MMEmbR1(checkpoint, EmbedderConfig(policy="never"))
    queries = model.encode_query([x.pair.query for x in examples])
    targets = model.encode_items([x.pair.target for x in examples])
    gates = torch.tensor([x.gate_probability for x in (*queries, *targets)])
    asked = torch.tensor([sure, *[1 - sure] * 7])
    surprise = -asked * gates.log() - (1 - asked) * (1 - gates).log()
    expected = (surprise[0] + surprise[1:].mean()) / 2
    assert found["gate"] == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize("chunk_size", [1, 3])
def test_gradients_from_chunks_are_those_of_the_whole_batch(fresh, examples, chunk_size):
    on = {name: 1.0 for name in OFF}
    whole, expected = losses(fresh(), examples, **on)
    chunked, gradients = losses(fresh(), examples, **on, chunk_size=chunk_size)
    assert chunked == pytest.approx(whole, rel=1e-5)
    length = torch.cat([gradient.flatten() for gradient in expected]).norm()
    for gradient, own in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient / length, own / length, atol=1e-5, rtol=0)


def test_examples_without_rationales_are_learnt_in_direct_mode_alone(fresh, pairs):
    found, _ = losses(fresh(), [SampledExample(pair) for pair in pairs], **{n: 1.0 for n in OFF})
    assert set(found) == {"direct_direct", "gate"}


def test_direct_losses_are_those_of_the_vectors_and_gates_that_the_embedder_gives(fresh, pairs):
    model = MMEmbR1(fresh(), EmbedderConfig(policy="never"))
    queries = model.encode_query([pair.query for pair in pairs])
    targets = model.encode_items([pair.target for pair in pairs])
    found, _ = losses(
        fresh(),
        [SampledExample(pair) for pair in pairs],
        direct_direct=1.0,
        gate=0.5,
        gate_confidence=1.0,
    )
    expected = matryoshka_info_nce(
        torch.stack([torch.from_numpy(encoding.vector) for encoding in queries]),
        torch.stack([torch.from_numpy(encoding.vector) for encoding in targets]),
        dims=DIMS,
        contrastive_temperature=0.05,
    )
    assert found["direct_direct"] == pytest.approx(expected.item(), abs=1e-4)  # / 0.05
    surprises = [-math.log(1 - encoding.gate_probability) for encoding in (*queries, *targets)]
    assert found["gate"] == pytest.approx(0.5 * fmean(surprises), abs=1e-5)


def test_swapped_roles_are_swapped_pairs(fresh, examples):
    on = {name: 1.0 for name in OFF}
    reversed_examples = [
        SampledExample(
            Pair(x.pair.target, x.pair.query, x.pair.target_key, x.pair.query_key),
            x.target_rationale,
            x.query_rationale,
        )
        for x in examples
    ]
    swapped, gradients = losses(fresh(), examples, swapped=True, **on)
    expected, own = losses(fresh(), reversed_examples, **on)
    assert swapped == expected  # the hard negative of one example is left out
    assert swapped["direct_direct"] != losses(fresh(), examples, **on)[0]["direct_direct"]
    assert all(torch.equal(one, other) for one, other in zip(gradients, own, strict=True))


def test_known_answers_are_no_negatives_where_roles_are_swapped(fresh, pairs):
    both = [replace(pairs[0], answers=frozenset({pairs[1].target_key})), pairs[1]]
    found, _ = losses(
        fresh(), [SampledExample(pair) for pair in both], direct_direct=1.0, swapped=True
    )
    assert found["direct_direct"] == 0.0


def test_pairs_that_ask_the_same_are_not_held_against_each_other(fresh, pairs):
    same = [SampledExample(replace(pair, query_key="same")) for pair in pairs]
    assert losses(fresh(), same, direct_direct=1.0)[0]["direct_direct"] == 0.0
    apart = [SampledExample(pair) for pair in pairs]
    assert losses(fresh(), apart, direct_direct=1.0)[0]["direct_direct"] > 0.1


def test_a_source_is_read_with_its_own_instructions(fresh, pairs):
    checkpoint = fresh()
    own = replace(checkpoint.manifest, instructions={"search": ("Ask for it.", "Show it.")})
    always = replace(own, query_instruction="Ask for it.", item_instruction="Show it.")

    def contrast(manifest, source=""):
        examples = [SampledExample(replace(pair, source=source)) for pair in pairs]
        found, _ = losses(replace(fresh(), manifest=manifest), examples, direct_direct=1.0)
        return found["direct_direct"]

    assert contrast(own, "search") == contrast(always)
    assert contrast(own, "other") == contrast(checkpoint.manifest)
    assert contrast(own, "search") != contrast(checkpoint.manifest)


def test_a_weight_below_zero_is_refused():
    with pytest.raises(ValueError, match="next_token must be >= 0, got -1"):
        JointLossConfig(next_token=-1)
    with pytest.raises(ValueError, match="chunk_size must be at least 1, got 0"):
        JointLossConfig(chunk_size=0)

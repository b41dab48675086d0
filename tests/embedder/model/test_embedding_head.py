"""Tests for embedding_head.py: heads over hidden states, by every path that makes a vector.

Brute force is transformers' own forward of one answer alone: its hidden states where the head
begins, then the head's layers by their own forward, or the pooling as a sum over places.
"""

import copy
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from embedder.content import Content
from embedder.engine.decoding import SelfDecoder
from embedder.engine.gating import Gate, Task
from embedder.finetune.training.audio import with_audio_encoder
from embedder.finetune.training.embedding_head import with_embedding_head
from embedder.finetune.training.forward import PromptWithAnswers, forward
from embedder.finetune.training.version_folder import write_version
from embedder.head_config import EmbeddingHeadConfig
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from embedder.model.checkpoint import load
from embedder.model.decode_steps import RecordedSteps
from embedder.model.embedding_head import WEIGHTS
from embedder.prompting.answers import direct_answer, rationale_answer
from embedder.prompting.audio_config import AudioEncoderConfig
from embedder.version import configured_version, has_embedding_head
from tests.embedder.model.test_decode_steps import Recorder

LAYERS, POOLER = EmbeddingHeadConfig(), EmbeddingHeadConfig(kind="pooler", num_layers=1)


def brief(checkpoint):
    """A copy that may be changed, whose rationales end soon."""
    manifest = replace(checkpoint.manifest, max_new_tokens=6)
    return replace(checkpoint, manifest=manifest, backbone=copy.deepcopy(checkpoint.backbone))


def headed(checkpoint, config):
    """The checkpoint with a head whose weights are no longer those of the reasoner."""
    found = with_embedding_head(brief(checkpoint), config)
    generator = torch.Generator().manual_seed(3)
    for parameter in found.backbone.head.parameters():
        parameter.data.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return found


@pytest.fixture(scope="module", params=[LAYERS, POOLER], ids=["layers", "pooler"])
def with_head(request, checkpoint):
    return headed(checkpoint, request.param)


@pytest.fixture(scope="module")
def with_layers(checkpoint):
    return headed(checkpoint, LAYERS)


@torch.no_grad()
def expected_vector(checkpoint, sample, answer):
    """What the head makes of one answer behind its prompt, by brute force."""
    backbone, head = checkpoint.backbone, checkpoint.backbone.head
    batch = checkpoint.inputs.batch([sample.extended(answer)])
    text = backbone.model.model.language_model
    seen = {}
    layer = text.layers[len(text.layers) - head.config.num_layers]

    def remember(module, args, kwargs):
        seen.update(kwargs, states=args[0] if args else kwargs["hidden_states"])

    hook = layer.register_forward_pre_hook(remember, with_kwargs=True)
    backbone.model(
        input_ids=batch.input_ids_BL,
        attention_mask=batch.attention_mask_BL,
        mm_token_type_ids=batch.image_mask_BL,
        pixel_values=batch.patches_PV,
        image_grid_thw=batch.grids,
    )
    hook.remove()
    states_1LH = seen["states"]
    if head.config.kind == "layers":
        for own in head.layers:
            states_1LH = own(
                states_1LH,
                position_embeddings=seen["position_embeddings"],
                attention_mask=seen["attention_mask"],
            )
        return F.normalize(head.norm(states_1LH)[0, -1], dim=-1)
    return F.normalize(head.norm(pooled(head, states_1LH[0])), dim=-1)


def pooled(head, states_LH):
    """Attention of the head's query over all states, one query head after the other."""
    normed_LH = head.input_norm(states_LH)
    key_LKD = head.k_norm(head.k_proj(normed_LH).view(len(states_LH), -1, head.head_dim))
    value_LKD = head.v_proj(normed_LH).view(key_LKD.shape)
    shared = len(head.query_ND) // key_LKD.shape[1]
    mixed = []
    for number, query_D in enumerate(head.query_ND):
        own = number // shared
        weight_L = torch.softmax(key_LKD[:, own] @ query_D / math.sqrt(head.head_dim), dim=0)
        mixed.append(weight_L @ value_LKD[:, own])
    return head.o_proj(torch.cat(mixed))


def test_vectors_are_those_of_the_head_by_brute_force(with_head, prompts):
    inputs = with_head.inputs
    answers = (direct_answer(inputs), rationale_answer(inputs, "grass is green", "2 kites"))
    batch = [PromptWithAnswers(sample, answers) for _, _, sample in prompts]
    with torch.no_grad():
        output = forward(with_head.backbone, inputs, batch)
    vectors = iter(output.vectors_NH)
    for _, _, sample in prompts:
        for answer in answers:
            expected = expected_vector(with_head, sample, answer)
            torch.testing.assert_close(next(vectors), expected, atol=1e-5, rtol=0)


def test_what_is_written_is_the_reasoners_own(with_layers, checkpoint, prompts):
    inputs = with_layers.inputs
    answers = (rationale_answer(inputs, "grass is green", "2 kites"),)
    batch = [PromptWithAnswers(sample, answers) for _, _, sample in prompts]
    with torch.no_grad():
        own, plain = (forward(one.backbone, inputs, batch) for one in (with_layers, checkpoint))
        logits, expected = (
            one.backbone.logits(output.token_states_TH)
            for one, output in ((with_layers, own), (checkpoint, plain))
        )
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(own.gate_B2, plain.gate_B2, atol=1e-5, rtol=0)
    assert not torch.allclose(own.vectors_NH, plain.vectors_NH, atol=1e-2)


def test_what_reasons_is_read_by_the_head_as_it_is_written(with_head, prompts):
    backbone, inputs = with_head.backbone, with_head.inputs
    decoder = SelfDecoder(backbone, inputs, max_new_tokens=6, num_slots=3)
    gated = (
        Gate(backbone, inputs, theta=0.5).launch(prompts, policy="always", keep_past=True).gated()
    )
    answers = dict(decoder.decode(gated, Task("query", "find the item", "always")))
    for row, _, sample in prompts:
        told = rationale_answer(inputs, answers[row].rationale, answers[row].summary)
        assert answers[row].action == "reason"
        tokens = written(backbone, inputs, sample, max_new_tokens=6)
        assert inputs.decode(tokens[1:-1]) == inputs.decode(told[1:-1])
        expected = expected_vector(with_head, sample, tokens)
        np.testing.assert_allclose(answers[row].vector, expected.numpy(), atol=1e-5)


@torch.no_grad()
def written(backbone, inputs, sample, *, max_new_tokens):
    """The likeliest answer that reasons, token by token by transformers' own forward."""
    tokens = [inputs.reason_id]
    while tokens[-1] != inputs.emb_id:
        batch = inputs.batch([sample.extended(tokens)])
        logits_V = backbone.model(
            input_ids=batch.input_ids_BL,
            attention_mask=batch.attention_mask_BL,
            mm_token_type_ids=batch.image_mask_BL,
            pixel_values=batch.patches_PV,
            image_grid_thw=batch.grids,
        ).logits[0, -1]
        logits_V[inputs.forbidden_ids] = -math.inf
        is_last = len(tokens) >= max_new_tokens
        tokens.append(inputs.emb_id if is_last else int(logits_V.argmax()))
    return tokens


@pytest.mark.parametrize("policy", ["never", "always"])
def test_a_vector_does_not_depend_on_the_batch(with_layers, image, policy):
    contents = [Content("kites " * n, image if n % 2 else None) for n in (5, 1, 2)]
    encoder = MMEmbR1(with_layers, EmbedderConfig(policy=policy, batch_tokens=200))
    together = encoder.encode_query(contents)
    for content, expected in zip(contents, together, strict=True):
        (alone,) = encoder.encode_query([content])
        np.testing.assert_allclose(alone.vector, expected.vector, atol=1e-5)


def test_queries_that_join_a_running_batch_have_the_same_vectors(with_layers):
    contents = [Content("kites"), Content("3 red mugs in the sky")]
    encoder = MMEmbR1(with_layers, EmbedderConfig(policy="always"))
    batch, answers = encoder.query_batch(), {}
    for number, content in enumerate(contents):
        prepared = batch.prepare(content, policy=None)
        batch.add(number, prepared, policy=None, deadline=None, max_new_tokens=None)
        answers |= batch.advance()  # the second joins when the first is under way
    while batch.num_under_way:
        answers |= batch.advance()
    for number, expected in enumerate(encoder.encode_query(contents)):
        np.testing.assert_allclose(answers[number].vector, expected.vector, atol=1e-5)


def test_recorded_steps_read_with_the_head_too(with_layers, monkeypatch):
    def vectors():
        encoder = MMEmbR1(with_layers, EmbedderConfig(policy="always", num_slots=3))
        return [one.vector for one in encoder.encode_query([Content("kites"), Content("mugs")])]

    plain, record = vectors(), Recorder()
    monkeypatch.setattr(
        "embedder.engine.continuous_batch.decode_steps",
        lambda text, **options: RecordedSteps(text, record=record, **options),
    )
    np.testing.assert_allclose(vectors(), plain, atol=1e-5)
    assert record.repeated > 0


def test_untrained_layers_have_the_vectors_of_the_reasoner_to_the_bit(checkpoint, image):
    contents = [Content("kites"), Content("3 red mugs", image)]
    plain, own = brief(checkpoint), brief(checkpoint)
    for policy in ("never", "always"):
        config = EmbedderConfig(policy=policy)
        found = MMEmbR1(with_embedding_head(own, LAYERS), config).encode_query(contents)
        expected = MMEmbR1(plain, config).encode_query(contents)
        for one, other in zip(found, expected, strict=True):
            assert np.array_equal(one.vector, other.vector)


def test_an_untrained_pooler_takes_the_mean_of_all_states(checkpoint):
    head = with_embedding_head(brief(checkpoint), POOLER).backbone.head
    states_LH = torch.randn(5, 128, generator=torch.Generator().manual_seed(0))
    mean_KD = head.v_proj(head.input_norm(states_LH)).mean(dim=0).view(2, head.head_dim)
    expected = head.o_proj(mean_KD.repeat_interleave(2, dim=0).flatten())
    torch.testing.assert_close(pooled(head, states_LH), expected)


def written_version(with_head, folder):
    write_version(with_head.backbone, with_head, folder, manifest=with_head.manifest)
    return folder


def test_a_version_keeps_its_head(with_head, tmp_path):
    read = load(str(written_version(with_head, tmp_path / "version")))
    assert read.backbone.head.config == with_head.backbone.head.config
    for one, other in zip(read.backbone.parameters(), with_head.backbone.parameters(), strict=True):
        assert torch.equal(one, other)
    contents = [Content("kites")]
    one, other = (
        MMEmbR1(checkpoint, EmbedderConfig(policy="always")).encode_query(contents)[0].vector
        for checkpoint in (read, with_head)
    )
    assert np.array_equal(one, other)
    assert MMEmbR1(read.read_as(read.manifest), EmbedderConfig()).checkpoint.backbone.head


def test_the_head_is_part_of_what_a_version_is(with_layers, checkpoint, tmp_path):
    folder = written_version(with_layers, tmp_path / "version")
    plain = tmp_path / "plain"
    write_version(checkpoint.backbone, checkpoint, plain, manifest=checkpoint.manifest)
    assert has_embedding_head(folder)
    assert not has_embedding_head(plain)
    assert not (plain / WEIGHTS).exists()
    before = configured_version(str(folder), "never")
    assert before != configured_version(str(plain), "never")
    with_layers.backbone.head.norm.weight.data[0] += 1
    assert configured_version(str(written_version(with_layers, folder)), "never") != before
    with_layers.backbone.head.norm.weight.data[0] -= 1


def test_a_model_that_is_given_an_audio_encoder_keeps_its_head(checkpoint):
    own = headed(checkpoint, LAYERS)
    config = AudioEncoderConfig(num_mel_bins=16, num_layers=1, hidden_size=32)
    assert with_audio_encoder(own, config, seed=0).backbone.head is own.backbone.head


def test_a_version_without_its_heads_weights_is_refused(with_layers, tmp_path):
    folder = written_version(with_layers, tmp_path / "version")
    (folder / WEIGHTS).unlink()
    with pytest.raises(FileNotFoundError, match=f"must hold {WEIGHTS}"):
        load(str(folder))


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"kind": "mlp"}, "kind must be layers or pooler, got 'mlp'"),
        ({"num_layers": 0}, "must be a whole number from 1 on, got 0"),
        ({"num_layers": 4}, "num_layers must be at most 3, for images are added"),
        ({"width": 3}, "no keys but kind, num_layers, got width"),
    ],
)
def test_a_head_that_cannot_be_is_refused(with_layers, tmp_path, told, message):
    folder = written_version(with_layers, tmp_path / "version")
    config = json.loads((folder / "config.json").read_text())
    config["embedding_head"] |= told
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=message):
        load(str(folder))

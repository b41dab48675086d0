"""The embedder on a GPU against the same on a CPU, against itself, and against transformers."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.random_model import random_checkpoint
from embedder.content import Content, Failure
from embedder.engine.gating import Gate
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from embedder.model.decode_attention import decode_attention, length_kernel
from embedder.model.decode_steps import PlainSteps
from embedder.model.kv_cache import SlotCache

pytestmark = pytest.mark.gpu

GOLDEN = Path(__file__).parents[1] / "golden.json"
QUERIES = [Content("3 red mugs"), Content("as many hats as a bicycle has wheels")] * 8


def vectors(encodings):
    return np.stack([encoding.vector for encoding in encodings])


def said(encodings):
    return [(one.action, one.rationale, one.summary) for one in encodings]


@pytest.mark.parametrize("policy", ["never", "always", "auto"])
def test_in_float32_vectors_actions_and_rationales_are_those_of_the_cpu(
    gpu, nano, contents, policy
):
    here, there = nano(device=gpu, dtype="float32"), nano(device="cpu", dtype="float32")
    for encode in ("encode_items", "encode_query"):
        given = contents if encode == "encode_items" else QUERIES
        found = getattr(here, encode)(given, policy=policy)
        expected = getattr(there, encode)(given, policy=policy)
        assert said(found) == said(expected)
        np.testing.assert_allclose(vectors(found), vectors(expected), atol=1e-6)


@pytest.mark.parametrize("policy", ["never", "always", "auto"])
def test_in_bfloat16_they_are_the_cpus_but_for_what_nano_sees_hardly_a_difference_between(
    gpu, nano, contents, policy
):
    """Of items it reads images, and is of two minds about some: their rationales may part."""
    here, there = nano(device=gpu, dtype="bfloat16"), nano(device="cpu", dtype="float32")
    found, expected = (model.encode_query(QUERIES, policy=policy) for model in (here, there))
    assert said(found) == said(expected)
    np.testing.assert_allclose(vectors(found), vectors(expected), atol=5e-3)
    found, expected = (model.encode_items(contents, policy=policy) for model in (here, there))
    assert [one.action for one in found] == [one.action for one in expected]
    pairs = zip(said(found), said(expected), strict=True)
    equal = [row for row, (one, other) in enumerate(pairs) if one == other]
    assert len(equal) >= 0.75 * len(contents)
    np.testing.assert_allclose(vectors(found)[equal], vectors(expected)[equal], atol=5e-3)


def test_golden_vectors_and_rationales_are_made_on_a_gpu(gpu, nano):
    golden, model = json.loads(GOLDEN.read_text()), nano(device=gpu, dtype="float32")
    for case in golden["queries"]:
        (encoding,) = model.encode_query([Content(case["text"])], policy=case["policy"])
        np.testing.assert_allclose(encoding.vector, case["vector"], atol=1e-5)
    item = Content(golden["item"]["text"], base64.b64decode(golden["image"]))
    (encoding,) = model.encode_items([item], policy="never")
    np.testing.assert_allclose(encoding.vector, golden["item"]["vector"], atol=1e-5)


def test_a_vector_does_not_depend_on_its_batch(gpu, nano, contents):
    model = nano(device=gpu, dtype="float32")
    for policy in ("never", "always"):
        together = vectors(model.encode_items(contents, policy=policy))
        alone = vectors(one for c in contents[:8] for one in model.encode_items([c], policy=policy))
        np.testing.assert_allclose(together[:8], alone, atol=1e-5)


def test_recorded_steps_say_what_plain_ones_do(gpu, nano, contents, monkeypatch):
    model = nano(device=gpu, dtype="float32")
    recorded = model.encode_items(contents, policy="always")
    monkeypatch.setattr(
        "embedder.engine.continuous_batch.decode_steps",
        lambda text, *, num_slots, device: PlainSteps(text, device=device),
    )
    plain = model.encode_items(contents, policy="always")
    assert said(recorded) == said(plain)
    np.testing.assert_allclose(vectors(recorded), vectors(plain), atol=1e-5)


def test_a_batch_is_launched_without_waiting_for_the_device(gpu, nano, contents):
    checkpoint = nano(device=gpu, dtype="bfloat16").checkpoint
    inputs, gate = checkpoint.inputs, Gate(checkpoint.backbone, checkpoint.inputs, theta=0.5)
    rows = [(row, c, inputs.sample(c, "find the item")) for row, c in enumerate(contents)]
    gate.launch(rows, policy="auto", keep_past=True).gated()  # what is made once, is by now
    torch.cuda.set_sync_debug_mode("error")
    try:
        launched = gate.launch(rows, policy="auto", keep_past=True)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(launched.gated()) == len(contents)


@pytest.mark.parametrize("policy", ["never", "auto"])
def test_batches_that_are_read_late_are_those_that_are_read_at_once(gpu, nano, contents, policy):
    """Small batches, so that memory of one is soon taken for another."""
    checkpoint = nano(device=gpu, dtype="float32").checkpoint
    config = EmbedderConfig(device=gpu, policy=policy, batch_tokens=256)
    late, at_once = (MMEmbR1(checkpoint, config) for _ in range(2))
    at_once._engine._num_unread = 0
    found, expected = (model.encode_items(contents * 4) for model in (late, at_once))
    assert said(found) == said(expected)
    np.testing.assert_allclose(vectors(found), vectors(expected), atol=1e-6)


@torch.inference_mode()
def test_the_kernel_by_lengths_gives_what_the_mask_does(gpu):
    """Queries, keys and values are rounded to bfloat16 by both; 1e-2 is what they part by."""
    device, generator = torch.device(gpu), torch.Generator(gpu).manual_seed(0)
    random = {"device": gpu, "dtype": torch.bfloat16, "generator": generator}
    cache = SlotCache(8, dtype=torch.bfloat16, device=device)
    for length in (1, 300, 17, 64, 129):
        cache.join(torch.randn(1, 2, 8, length, 128, **random), room=9)
    cache.grow()
    slots, _ = cache.widen(to_all_columns=True)
    keys, values = cache.write(0, *torch.randn(2, slots, 8, 128, **random))
    query = torch.randn(slots, 8, 2, 128, **random)
    kernel = length_kernel(device, torch.bfloat16)
    assert kernel is not None
    found, expected = (decode_attention(cache, one)(query, keys, values) for one in (kernel, None))
    torch.testing.assert_close(found[:5], expected[:5], atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.2, 0.05])
def test_with_any_memory_that_holds_one_prompt_every_content_is_answered(
    gpu, nano, contents, share
):
    """What is free above the weights is cut to a share of what an ample call takes at most."""
    model = nano(device=gpu, dtype="float32")
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    base = torch.cuda.memory_allocated()
    expected = model.encode_items(contents, policy="always")
    needed = torch.cuda.max_memory_allocated() - base
    one = max(needed * share, 24e6)  # about what a single prompt and its workspaces take
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + one) / total)
    try:
        found = dict(model.stream_items(contents, policy="always"))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert not [answer.reason for answer in found.values() if isinstance(answer, Failure)]
    assert said([found[row] for row in range(len(contents))]) == said(expected)


def test_a_model_of_the_2b_shape_gives_transformers_vectors(gpu, tmp_path, contents):
    checkpoint = random_checkpoint("qwen3-vl-2b", tmp_path, device=gpu, dtype="bfloat16")
    model = MMEmbR1(checkpoint, EmbedderConfig(device=gpu, policy="never"))
    found = vectors(model.encode_items(contents[:8]))
    expected = []
    for content in contents[:8]:
        sample = checkpoint.inputs.sample(content, checkpoint.manifest.item_instruction)
        answer = [checkpoint.inputs.direct_id, checkpoint.inputs.emb_id]
        batch = checkpoint.inputs.batch([sample.extended(answer)]).to(gpu)
        with torch.inference_mode():
            states = checkpoint.backbone.model.model(
                input_ids=batch.input_ids_BL,
                attention_mask=batch.attention_mask_BL,
                mm_token_type_ids=batch.image_mask_BL,
                pixel_values=batch.patches_PV,
                image_grid_thw=batch.grids,
                use_cache=False,
            ).last_hidden_state
        vector = torch.nn.functional.normalize(states[0, -1].float(), dim=-1)
        expected.append(vector.cpu().numpy())
    assert (found * np.stack(expected)).sum(axis=1).min() > 0.998
    assert (found[:-1] * found[1:]).sum(axis=1).max() < 0.998  # or they would all be alike

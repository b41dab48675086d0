"""Embedders of the hub, by their classes and files with random weights: vectors are their own.

Each is held against transformers alone, as the models' authors compute their vectors.
"""

import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoTokenizer, Gemma3TextModel, Qwen2VLImageProcessorPil

pytest.importorskip("sentence_transformers", reason="the extra sentence-transformers is missing")

from embedder.content import Content
from embedder.prompting.images import open_image
from embedder.sentence.encoder import SentenceEncoder
from tests.tiny_hub_models import (
    GEMMA_PROMPTS,
    INSTRUCTION,
    qwen_vl_model,
    write_embedding_gemma,
    write_qwen_vl,
)

LINE_BREAK = {
    "type": "Sequence",
    "normalizers": [
        {"type": "NFC"},
        {"type": "Replace", "pattern": {"Regex": "\n$"}, "content": ""},
    ],
}


@pytest.fixture(scope="module")
def photo():
    noise = np.random.default_rng(0).integers(0, 255, (80, 64, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    return file.getvalue()


@torch.inference_mode()
def by_transformers(folder, family, content):
    """The state of the last token of instruction, image, text and the assistant's turn."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = qwen_vl_model(tokenizer, family)
    model.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    shown, vision = "", {}
    if content.image is not None:
        images = Qwen2VLImageProcessorPil.from_pretrained(folder)(
            [open_image(content.image)], return_tensors="pt"
        )
        num_tokens = int(images["image_grid_thw"].prod()) // 4
        shown = "<|vision_start|>" + "<|image_pad|>" * num_tokens + "<|vision_end|>"
        vision = dict(images)
    prompt = (
        f"<|im_start|>system\n{INSTRUCTION}<|im_end|>\n"
        f"<|im_start|>user\n{shown}{content.text}<|im_end|>\n<|im_start|>assistant\n"
    )
    inputs = tokenizer(prompt, return_tensors="pt")
    if vision:
        vision["mm_token_type_ids"] = (inputs["input_ids"] == model.config.image_token_id).int()
    states = model(**inputs, **vision).last_hidden_state
    return F.normalize(states[0, -1].float(), dim=-1).numpy()


@pytest.mark.parametrize("family", ["qwen3_vl", "qwen3_5"])
def test_vision_language_embedders_read_the_last_token_and_the_image_first(tmp_path, photo, family):
    folder = write_qwen_vl(tmp_path / "model", family)
    encoder = SentenceEncoder.open(str(folder))
    contents = [Content("3 red mugs"), Content(image=photo), Content("red mugs", photo)]
    expected = [by_transformers(folder, family, content) for content in contents]
    for encode in (encoder.encode_query, encoder.encode_items):
        got = np.stack([encoding.vector for encoding in encode(contents)])
        np.testing.assert_allclose(got, np.stack(expected), atol=1e-5, rtol=0)


def test_the_rules_of_a_tokenizer_are_those_of_its_file(tmp_path):
    encoder = SentenceEncoder.open(
        str(write_qwen_vl(tmp_path / "model", "qwen3_5", normalizer=LINE_BREAK))
    )
    normalizer = encoder._model[0].tokenizer.backend_tokenizer.normalizer
    assert normalizer.normalize_str("<|im_start|>assistant\n") == "<|im_start|>assistant"


@torch.inference_mode()
def test_embedding_gemma_reads_both_ways_and_prompts_both_sides(tmp_path):
    folder = write_embedding_gemma(tmp_path / "model")
    encoder = SentenceEncoder.open(str(folder))
    tokenizer, model = (
        AutoTokenizer.from_pretrained(folder),
        Gemma3TextModel.from_pretrained(folder),
    )
    assert model.config.use_bidirectional_attention

    def expected(prompt):
        states = model(**tokenizer(prompt + "red mugs", return_tensors="pt")).last_hidden_state
        vector = states[0].mean(dim=0)
        for dense in ("2_Dense", "3_Dense"):
            vector = load_file(folder / dense / "model.safetensors")["linear.weight"] @ vector
        return F.normalize(vector, dim=-1).numpy()

    for side, encode in (("query", encoder.encode_query), ("document", encoder.encode_items)):
        [got] = encode([Content("red mugs")])
        np.testing.assert_allclose(got.vector, expected(GEMMA_PROMPTS[side]), atol=1e-5, rtol=0)
    first = model(**tokenizer("red mugs", return_tensors="pt")).last_hidden_state[0, 0]
    alone = model(**tokenizer("red", return_tensors="pt")).last_hidden_state[0, 0]
    assert not torch.allclose(first, alone)  # the first token has seen the second

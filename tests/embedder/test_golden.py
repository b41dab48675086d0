"""nano's vectors are those that plain transformers computed when `golden.json` was written.

`python tests/embedder/test_golden.py` writes the file anew, after nano was trained anew. It uses
transformers alone: prompts are spelled out, rationales come from `generate`, vectors from a full
forward. Nothing of `embedder` takes part but the checkpoint and the names in its manifest.
"""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoTokenizer, Qwen2VLImageProcessorPil

from embedder.content import Content
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from embedder.model.checkpoint import load
from embedder.version import SHIPPED

FILE = Path(__file__).parent / "golden.json"
QUERIES = ["3 red mugs", "as many hats as a bicycle has wheels"]
ITEM_TEXT = "4 striped kites\ntoys, gift"
CONTROL = ("<|direct|>", "<|reason|>", "<|summary|>", "<|emb|>")


class Plain:
    """The checkpoint by transformers' own classes."""

    def __init__(self):
        self.tokenizer = AutoTokenizer.from_pretrained(SHIPPED["nano"])
        self.images = Qwen2VLImageProcessorPil.from_pretrained(SHIPPED["nano"])
        self.model = AutoModelForImageTextToText.from_pretrained(
            SHIPPED["nano"], dtype=torch.float32
        ).eval()
        self.manifest = json.loads((SHIPPED["nano"] / "manifest.json").read_text())

    def prompt(self, instruction, text, image=None):
        processed, pad = {}, ""
        if image is not None:
            processed = dict(self.images(images=[image], return_tensors="pt"))
            tokens = int(processed["image_grid_thw"].prod()) // 4
            pad = "<|vision_start|>" + "<|image_pad|>" * tokens + "<|vision_end|>"
        prompt = f"<|im_start|>user\n{pad}{instruction}\n{text}<|im_end|>\n<|im_start|>assistant\n"
        return prompt, processed

    def vector(self, prompt, processed):
        ids = self.tokenizer(prompt, add_special_tokens=False, return_tensors="pt").input_ids
        is_image = (ids == self.tokenizer.convert_tokens_to_ids("<|image_pad|>")).int()
        with torch.no_grad():
            output = self.model(
                input_ids=ids, mm_token_type_ids=is_image, output_hidden_states=True, **processed
            )
        state = output.hidden_states[-1][0, -1]
        return (state / state.norm()).tolist()

    def rationale(self, prompt):
        token = self.tokenizer.convert_tokens_to_ids
        allowed = {token("<|summary|>"), token("<|emb|>")}
        forbidden = {*self.tokenizer.all_special_ids, *map(token, CONTROL)} - allowed
        ids = self.tokenizer(prompt, add_special_tokens=False, return_tensors="pt").input_ids
        answer = self.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=self.manifest["max_new_tokens"] - 1,
            eos_token_id=token("<|emb|>"),
            suppress_tokens=sorted(forbidden),
        )
        return self.tokenizer.decode(answer[0, ids.shape[1] :])


def image():
    """A gradient with a red square, as a PNG file."""
    gradient = Image.linear_gradient("L").resize((96, 96)).convert("RGB")
    gradient.paste("red", (20, 30, 70, 60))
    buffer = io.BytesIO()
    gradient.save(buffer, "PNG")
    return buffer.getvalue()


def write():
    plain, data = Plain(), image()
    query, item = plain.manifest["query_instruction"], plain.manifest["item_instruction"]
    cases = []
    for text in QUERIES:
        prompt, _ = plain.prompt(query, text)
        said = plain.rationale(prompt + "<|reason|>")
        cases += [
            {"text": text, "policy": "never"} | {"vector": plain.vector(prompt + DIRECT, {})},
            {"text": text, "policy": "always", "said": said}
            | {"vector": plain.vector(prompt + "<|reason|>" + said, {})},
        ]
    prompt, processed = plain.prompt(item, ITEM_TEXT, Image.open(io.BytesIO(data)))
    golden = {
        "generator": "python tests/embedder/test_golden.py",
        "image": base64.b64encode(data).decode(),
        "queries": [rounded(case) for case in cases],
        "item": rounded({"text": ITEM_TEXT, "vector": plain.vector(prompt + DIRECT, processed)}),
    }
    FILE.write_text(json.dumps(golden, indent=1) + "\n")


DIRECT = "<|direct|><|emb|>"


def rounded(case):
    return case | {"vector": [round(number, 7) for number in case["vector"]]}


@pytest.fixture(scope="module")
def golden():
    return json.loads(FILE.read_text())


@pytest.fixture(scope="module")
def nano():
    return MMEmbR1(load("nano"), EmbedderConfig())


@pytest.mark.parametrize("number", range(2 * len(QUERIES)))
def test_a_querys_vector_and_rationale_are_golden(golden, nano, number):
    case = golden["queries"][number]
    (encoding,) = nano.encode_query([Content(case["text"])], policy=case["policy"])
    np.testing.assert_allclose(encoding.vector, case["vector"], atol=1e-5)
    if "said" in case:
        rationale, _, summary = case["said"].removesuffix("<|emb|>").partition("<|summary|>")
        assert (encoding.rationale, encoding.summary) == (rationale.strip(), summary.strip())


def test_the_vector_of_an_item_with_an_image_is_golden(golden, nano):
    content = Content(golden["item"]["text"], base64.b64decode(golden["image"]))
    (encoding,) = nano.encode_items([content], policy="never")
    np.testing.assert_allclose(encoding.vector, golden["item"]["vector"], atol=1e-5)


if __name__ == "__main__":
    write()

"""Tests for prompts.py: what a batch has on the device."""

import dataclasses

import torch

from embedder.content import Content
from tests.clips import bar_clip
from tests.sounds import tone_file


def within(value):
    """Tensors in a value, in whatever it holds."""
    if isinstance(value, torch.Tensor):
        return [value]
    if dataclasses.is_dataclass(value):
        value = [getattr(value, field.name) for field in dataclasses.fields(value)]
    return [one for each in value for one in within(each)] if isinstance(value, list) else []


def test_the_tensors_of_a_batch_are_all_that_it_holds(hearing, image):
    inputs = hearing.inputs
    contents = [Content("a mug", image), Content("a bell", clip=bar_clip(), audio=tone_file())]
    samples = [inputs.sample(content, "find the item") for content in contents]
    for batch in (samples, [inputs.sample(Content("a mug"), "find the item")]):
        prompts = inputs.prompts(batch, device=torch.device("cpu"))
        found = {tensor.data_ptr() for tensor in prompts.tensors() if tensor.numel()}
        assert found == {tensor.data_ptr() for tensor in within(prompts) if tensor.numel()}
    assert len(inputs.prompts(samples, device=torch.device("cpu")).tensors()) == 8

"""Tests for clips and further images in a prompt, against transformers' own forward of videos."""

import numpy as np
import pytest
import torch
from PIL import Image

from catalog.clips.limits import ClipError
from embedder.content import Content
from embedder.prompting.inputs import Inputs
from embedder.prompting.patches import PatchCutter
from embedder.prompting.vision_config import VisionConfig
from tests.clips import bar_clip

DIRECT = ["<|direct|>", "<|emb|>"]


@pytest.fixture(scope="module")
def clip():
    return bar_clip(num_frames=25, size=(64, 80))  # five frames are read: the last one twice


@pytest.fixture(scope="module")
def plain(backbone, tokenizer):
    """The last state of a prompt by the model's own forward, clips given as videos."""

    def forward(inputs, sample):
        batch = inputs.batch([sample])
        num_later = 0 if sample.later_MU is None else len(sample.later_MU)
        num_still = len(batch.patches_PV) - num_later
        still = [grid for grid, end in ends(sample.grids) if end <= num_still]
        moments = sample.grids[len(still) :]
        ids = batch.input_ids_BL.clone()
        kinds = batch.image_mask_BL.clone()
        if moments:
            places = kinds.flatten().nonzero().flatten()[num_still // 4 :]
            ids[0, places] = tokenizer.convert_tokens_to_ids("<|video_pad|>")
            kinds[0, places] = 2
        given = {}
        if still:
            given |= {"pixel_values": batch.patches_PV[:num_still]}
            given |= {"image_grid_thw": torch.tensor(still)}
        if moments:
            _, height, width = moments[0]
            given |= {"pixel_values_videos": batch.patches_PV[num_still:]}
            given |= {"video_grid_thw": torch.tensor([[len(moments), height, width]])}
        with torch.no_grad():
            output = backbone.model.model(
                input_ids=ids,
                attention_mask=batch.attention_mask_BL,
                mm_token_type_ids=kinds,
                **given,
            )
        return output.last_hidden_state[0, -1]

    return forward


def ends(grids):
    end = 0
    for grid in grids:
        end += int(np.prod(grid))
        yield grid, end


@pytest.mark.parametrize("kind", ["clip", "image and clip", "gallery", "all"])
def test_the_state_of_a_clip_is_that_of_transformers(
    inputs, backbone, plain, clip, image, wide_image, kind
):
    content = {
        "clip": Content("a kite", clip=clip),
        "image and clip": Content("a kite", image, clip=clip),
        "gallery": Content("a kite", image, gallery=(wide_image, image)),
        "all": Content("a kite", image, gallery=(wide_image,), clip=clip),
    }[kind]
    sample = inputs.sample(content, "find the item")
    expected = plain(inputs, sample)
    [state] = backbone.last_states(inputs.prompts([sample], device=backbone.device))
    scale = expected.abs().max().item()
    torch.testing.assert_close(state, expected, rtol=1e-5, atol=1e-5 * scale)


def test_how_a_clip_moves_makes_its_vector(inputs, backbone, clip):
    """Each pair of frames is read as two frames, and not as one of them twice."""
    sample = inputs.sample(Content(clip=clip), "find")
    assert len(sample.later_MU) == len(sample.patches_PV)
    still = type(sample)(sample.tokens, sample.patches_PV, sample.grids, sample.patches_PV)
    moving, stopped = (
        backbone.last_states(inputs.prompts([one], device=backbone.device))[0]
        for one in (sample, still)
    )
    assert (moving - stopped).abs().max() > 1e-3 * moving.abs().max()


def test_a_clip_does_not_depend_on_its_batch(inputs, backbone, clip, image):
    contents = [
        Content("a kite"),
        Content("a kite", clip=clip),
        Content("3 red mugs", image),
        Content("a longer text beside a clip, and an image", image, clip=bar_clip(num_frames=4)),
    ]
    samples = [inputs.sample(content, "find") for content in contents]
    together = backbone.last_states(inputs.prompts(samples, device=backbone.device))
    for sample, state in zip(samples, together, strict=True):
        [alone] = backbone.last_states(inputs.prompts([sample], device=backbone.device))
        scale = alone.abs().max().item()
        torch.testing.assert_close(state, alone, rtol=1e-5, atol=1e-5 * scale)


def test_the_prompt_tells_the_middle_of_each_two_frames(inputs, tokenizer, clip):
    """Qwen3-VL: frames at 0, 0.6, 1.2, 1.8 and 2.4 s, the last one twice."""
    text = tokenizer.decode(inputs.sample(Content("kites", clip=clip), "find").tokens)
    moments = ["<0.3 seconds>", "<1.5 seconds>", "<2.4 seconds>"]
    assert [text.count(moment) for moment in moments] == [1, 1, 1]
    places = [text.index(moment) for moment in [*moments, "find\nkites"]]
    assert places == sorted(places)
    assert all(
        text[at + len("<0.3 seconds>") :].startswith("<|vision_start|>") for at in places[:3]
    )


def test_images_come_in_their_order_and_before_the_clip(inputs, clip, image, wide_image):
    sample = inputs.sample(Content("", image, gallery=(wide_image,), clip=clip), "find")
    first, second = (inputs.sample(Content("", one), "find") for one in (image, wide_image))
    assert sample.grids[:2] == first.grids + second.grids
    assert len(set(sample.grids[2:])) == 1
    assert len(sample.later_MU) == sum(int(np.prod(grid)) for grid in sample.grids[2:])


def test_a_text_beside_a_clip_is_cut_where_it_is_cut_without(inputs, tokenizer, clip):
    words = "kites " * 200
    alone, beside = (
        tokenizer.decode(inputs.sample(Content(words, clip=one), "find").tokens).count(" kites")
        for one in (None, clip)
    )
    assert beside == alone < 200


@pytest.mark.parametrize(("max_tokens", "expected"), [(1024, 3 * 16), (24, 3 * 8), (1, 3)])
def test_a_clip_has_no_more_tokens_than_it_may(tokenizer, processor, max_tokens, expected):
    vision = VisionConfig(max_clip_tokens=max_tokens)
    made = Inputs(tokenizer, processor, max_text_tokens=64, vision=vision)
    clip = bar_clip(num_frames=25, size=(200, 200))
    num_tokens = made.seen(Content(clip=clip)).num_tokens
    assert num_tokens <= max(expected, 3)


def test_further_images_share_their_tokens(tokenizer, processor, image):
    vision = VisionConfig(max_gallery_tokens=12)
    made = Inputs(tokenizer, processor, max_text_tokens=64, vision=vision)
    alone = made.seen(Content("", image)).num_tokens
    for count in (1, 2, 3):
        seen = made.seen(Content("", image, gallery=(image,) * count))
        assert alone < seen.num_tokens <= alone + 12


@pytest.mark.parametrize(
    ("fps", "max_frames", "moments"), [(2.0, 16, 3), (4.0, 16, 5), (2.0, 2, 1)]
)
def test_frames_are_read_as_often_as_said(tokenizer, processor, clip, fps, max_frames, moments):
    vision = VisionConfig(clip_fps=fps, max_clip_frames=max_frames)
    made = Inputs(tokenizer, processor, max_text_tokens=64, vision=vision)
    assert len(made.seen(Content(clip=clip)).sample.grids) == moments


def test_a_clip_that_cannot_be_read_is_said_to_be_none(inputs):
    with pytest.raises(ClipError, match="must be an MP4, WebM or GIF"):
        inputs.sample(Content("kites", clip=b"no clip"), "find")


@pytest.mark.parametrize("size", [(96, 64), (90, 70), (200, 220)])
@pytest.mark.parametrize("max_tokens", [1000, 10])
def test_frames_are_cut_as_images_are(processor, size, max_tokens):
    cutter = PatchCutter(processor)
    frames = [Image.effect_noise(size, 40 + n).convert("RGB") for n in range(3)]
    first, later, grids = cutter.cut_clip(np.stack(frames), max_tokens=max_tokens)
    cuts = [cutter.cut(frame, max_tokens=max_tokens // 2) for frame in frames]
    np.testing.assert_array_equal(first, np.concatenate([cuts[0][0], cuts[2][0]]))
    np.testing.assert_array_equal(later, np.concatenate([cuts[1][0], cuts[2][0]]))
    assert grids == (cuts[0][1],) * 2


def test_a_clip_like_a_ribbon_is_padded_as_an_image_is(inputs):
    ribbon = bar_clip("gif", num_frames=2, size=(8, 400))
    frames = inputs.clips.open_clip(ribbon).frames_THWC
    assert frames.shape == (2, 20, 400, 3)
    assert frames[:, 8:].min() == 255


@pytest.fixture(scope="module")
def processor():
    from embedder.nano.architecture import build_image_processor

    return build_image_processor()

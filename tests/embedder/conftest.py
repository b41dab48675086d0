"""An untrained nano: the true architecture with random weights, so no test rests on training."""

import io
import random

import pytest
import torch
from PIL import Image

from catalog.bazaar.drawing import draw, png
from catalog.bazaar.world import random_product
from embedder.content import Content
from embedder.finetune.training.audio import with_audio_encoder
from embedder.model.backbone import Backbone
from embedder.model.checkpoint import Checkpoint, load
from embedder.nano import architecture
from embedder.nano.checkpoint import save_checkpoint
from embedder.prompting.audio_config import AudioEncoderConfig
from embedder.prompting.inputs import Inputs
from embedder.version import read_manifest


@pytest.fixture(scope="session")
def tokenizer():
    return architecture.build_tokenizer(0)


@pytest.fixture(scope="session")
def inputs(tokenizer):
    return Inputs(tokenizer, architecture.build_image_processor(), max_text_tokens=64)


@pytest.fixture(scope="session")
def backbone(tokenizer):
    model = architecture.build_model(tokenizer, 0).eval().requires_grad_(False)
    # Untrained weights of 0.02 make every state alike; larger ones let the prompt show.
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data.normal_(0, 0.15, generator=generator)
    return Backbone(model)


@pytest.fixture(scope="session")
def folder(backbone, inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("version")
    save_checkpoint(backbone.model, inputs, folder)
    return folder


@pytest.fixture(scope="session")
def checkpoint(backbone, inputs, folder):
    return Checkpoint(folder, read_manifest(folder), backbone, inputs, gate_is_trained=True)


@pytest.fixture(scope="session")
def image():
    rng = random.Random(0)
    return png(draw(random_product(rng), rng))


@pytest.fixture(scope="session")
def wide_image(image):
    """The lower half of `image`."""
    whole = Image.open(io.BytesIO(image))
    buffer = io.BytesIO()
    whole.crop((0, whole.height // 2, whole.width, whole.height)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def prompts(inputs, image):
    """Four contents as the gate takes them: number, content, sample."""
    contents = [
        Content("3 red mugs"),
        Content("", image),
        Content("as many striped boats as a bicycle has wheels, in the colour of grass", image),
        Content("kites"),
    ]
    return [
        (row, content, inputs.sample(content, "find the item"))
        for row, content in enumerate(contents)
    ]


@pytest.fixture(scope="session")
def plain_forward(backbone, inputs):
    """The reference: hidden states and logits by one call of the model's own forward."""

    def forward(sample, answer, backbone=backbone, inputs=inputs):
        batch = inputs.batch([sample.extended(answer)])
        output = backbone.model(
            input_ids=batch.input_ids_BL,
            attention_mask=batch.attention_mask_BL,
            mm_token_type_ids=batch.image_mask_BL,
            pixel_values=batch.patches_PV,
            image_grid_thw=batch.grids,
            output_hidden_states=True,
        )
        return output.hidden_states[-1][0], output.logits[0]

    return forward


@pytest.fixture(scope="session")
def hearing(folder):
    """The same with an untrained audio encoder; of 80 ms a token."""
    loaded = load(str(folder))
    config = AudioEncoderConfig(num_mel_bins=32, patch_frames=4, merged_patches=2)
    return with_audio_encoder(loaded, config, seed=0)

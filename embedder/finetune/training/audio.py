"""An audio encoder for a checkpoint that has none: its weights are drawn, and nothing is learnt."""

import copy
from dataclasses import replace

import torch

from embedder.model.audio_encoder import AudioEncoder
from embedder.model.backbone import Backbone
from embedder.model.checkpoint import Checkpoint
from embedder.prompting.audio_config import CONFIG_KEY, AudioEncoderConfig
from embedder.prompting.template import (
    AUDIO_END,
    AUDIO_PAD,
    AUDIO_START,
    IMAGE_END,
    IMAGE_PAD,
    IMAGE_START,
)

_LIKE = {AUDIO_START: IMAGE_START, AUDIO_PAD: IMAGE_PAD, AUDIO_END: IMAGE_END}
"""The new tokens, and those whose vectors they start with."""


def with_audio_encoder(
    checkpoint: Checkpoint, config: AudioEncoderConfig, *, seed: int
) -> Checkpoint:
    """Return the checkpoint with an untrained audio encoder; its model is changed in place.

    What is no sound is read as before.

    Args:
        checkpoint: without an audio encoder.
        config: how that is built.
        seed: of its weights.

    Raises:
        ValueError: the checkpoint has one.
    """
    if checkpoint.backbone.audio is not None:
        raise ValueError("the checkpoint has an audio encoder; leave out the options of audio")
    network = checkpoint.backbone.model
    tokenizer = copy.deepcopy(checkpoint.inputs.tokenizer)
    tokenizer.add_special_tokens(
        {"additional_special_tokens": list(_LIKE)}, replace_extra_special_tokens=False
    )
    with torch.random.fork_rng():  # more rows are drawn too, though they are overwritten
        torch.manual_seed(seed)
        encoder = AudioEncoder(config, out_size=checkpoint.hidden_size)
        if len(tokenizer) > network.get_input_embeddings().weight.shape[0]:
            network.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    new, like = (tokenizer.convert_tokens_to_ids(list(each)) for each in (_LIKE, _LIKE.values()))
    with torch.no_grad():
        for layer in (network.get_input_embeddings(), network.get_output_embeddings()):
            layer.weight[new] = layer.weight[like].clone()
    encoder.to(network.device, network.dtype).eval().requires_grad_(False)
    setattr(network.config, CONFIG_KEY, config.as_json())
    head = checkpoint.backbone.head
    backbone = Backbone(network, readout=checkpoint.manifest.readout, audio=encoder, head=head)
    inputs = checkpoint.inputs.with_tokenizer(tokenizer).with_audio(
        config, max_s=checkpoint.manifest.max_audio_s
    )
    return replace(checkpoint, backbone=backbone, inputs=inputs)

"""Loads a Qwen-VL checkpoint by folder or hub id: safetensors only, no remote code, no torchvision.

A checkpoint that was never fine-tuned by Ponder lacks the four control tokens. They are added, and
their rows start as copies of the turn marker's (UME-R1 copies its new rows from marker tokens as
well); its gate has learnt nothing yet, and `Checkpoint.gate_is_trained` says so.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoTokenizer,
    Qwen2VLImageProcessorPil,
)
from transformers.utils import logging as transformers_logging

from embedder.head_config import CONFIG_KEY as HEAD_KEY
from embedder.head_config import EmbeddingHeadConfig
from embedder.model.audio_encoder import AudioEncoder, load_audio_encoder
from embedder.model.backbone import Backbone
from embedder.model.embedding_head import EmbeddingHead, load_embedding_head
from embedder.model.omni_audio import OmniAudio
from embedder.precision import AskedDtype, Dtype, dtype_on
from embedder.prompting.audio_config import CONFIG_KEY, AudioEncoderConfig
from embedder.prompting.inputs import Inputs
from embedder.prompting.template import PONDER_TOKENS, TURN_START
from embedder.prompting.vision_config import VisionConfig
from embedder.version import Manifest, read_manifest, resolve

logger = logging.getLogger(__name__)
transformers_logging.disable_progress_bar()  # it would draw over the caller's own


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A loaded model version."""

    folder: Path
    manifest: Manifest
    backbone: Backbone
    inputs: Inputs
    gate_is_trained: bool
    """False for a checkpoint whose control tokens were added at load time."""

    @property
    def hidden_size(self) -> int:
        """Numbers of a hidden state, and of a full vector."""
        return int(self.backbone.model.config.get_text_config().hidden_size)

    @property
    def dtype(self) -> Dtype:
        """What its weights are."""
        return "bfloat16" if self.backbone.model.dtype == torch.bfloat16 else "float32"

    def read_as(self, manifest: Manifest) -> "Checkpoint":
        """Return the same model, used as another manifest says."""
        own = self.backbone
        backbone = Backbone(own.model, readout=manifest.readout, audio=own.audio, head=own.head)
        return replace(self, manifest=manifest, backbone=backbone)


def load(model: str, *, device: str = "cpu", dtype: AskedDtype = "auto") -> Checkpoint:
    """Load a checkpoint, ready to encode.

    Weights go to the device tensor by tensor, out of files that are mapped into memory, so that
    the host never holds more than a few of them.

    Args:
        model: `nano`, a folder, or a hub id such as `Qwen/Qwen3-VL-4B-Instruct`.
        device: a torch device, e.g. "cpu", "cuda", "cuda:1".
        dtype: what its weights become; see `embedder.precision`.
    """
    folder = resolve(model)
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    # A checkpoint may not bring its own code: the class comes from transformers by model_type.
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    config = getattr(config, "thinker_config", config)  # of Qwen3-Omni the part that reads
    network = AutoModelForImageTextToText.from_pretrained(
        folder,
        config=config,
        dtype=getattr(torch, dtype_on(device, dtype)),
        device_map=torch.device(device),
        trust_remote_code=False,
        use_safetensors=True,
        attn_implementation="sdpa",
    )
    gate_is_trained = _add_control_tokens(tokenizer, network)
    manifest = read_manifest(folder)
    size = image_size(folder, max_tokens=manifest.max_image_tokens)
    image_processor = Qwen2VLImageProcessorPil.from_pretrained(folder, size=size)
    vision = VisionConfig(
        clip_fps=manifest.clip_fps,
        max_clip_frames=manifest.max_clip_frames,
        max_clip_tokens=manifest.max_clip_tokens,
        max_gallery_tokens=manifest.max_gallery_tokens,
    )
    audio = _audio_encoder(folder, config, network)
    inputs = Inputs(
        tokenizer,
        image_processor,
        max_text_tokens=manifest.max_text_tokens,
        vision=vision,
        audio=None if audio is None else audio.config,
        max_audio_s=manifest.max_audio_s,
    )
    backbone = Backbone(
        network.eval().requires_grad_(False),
        readout=manifest.readout,
        audio=audio,
        head=_embedding_head(folder, config, network),
    )
    return Checkpoint(folder, manifest, backbone, inputs, gate_is_trained)


def _audio_encoder(folder: Path, config: Any, network: Any) -> AudioEncoder | OmniAudio | None:
    """Return the encoder of sounds beside the network, or in it; None: it reads none."""
    if hasattr(network.model, "audio_tower"):
        return OmniAudio(network.model.audio_tower)
    told = AudioEncoderConfig.told(getattr(config, CONFIG_KEY, None))
    if told is None:
        return None
    return load_audio_encoder(
        folder,
        told,
        out_size=config.get_text_config().hidden_size,
        device=network.device,
        dtype=network.dtype,
    )


def _embedding_head(folder: Path, config: Any, network: Any) -> EmbeddingHead | None:
    """Return the head beside the network; None: vectors are its own last states."""
    told = EmbeddingHeadConfig.told(getattr(config, HEAD_KEY, None))
    return None if told is None else load_embedding_head(folder, told, network)


def image_size(folder: Path, *, max_tokens: int) -> dict[str, int]:
    """Return the checkpoint's limits on pixels, lowered to so many tokens an image."""
    processor = Qwen2VLImageProcessorPil.from_pretrained(folder)
    token_pixels = (processor.patch_size * processor.merge_size) ** 2
    most = max_tokens * token_pixels
    return {name: min(processor.size[name], most) for name in ("shortest_edge", "longest_edge")}


def _add_control_tokens(tokenizer: Any, network: Any) -> bool:
    """Adds the tokens that are missing; True when none were."""
    missing = [token for token in PONDER_TOKENS if token not in tokenizer.get_vocab()]
    if not missing:
        return True
    tokenizer.add_special_tokens(
        {"additional_special_tokens": missing}, replace_extra_special_tokens=False
    )
    rows = network.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        network.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model_row = tokenizer.convert_tokens_to_ids(TURN_START)
    new_rows = tokenizer.convert_tokens_to_ids(missing)
    with torch.no_grad():
        for layer in (network.get_input_embeddings(), network.get_output_embeddings()):
            layer.weight[new_rows] = layer.weight[model_row].clone()
    logger.warning("checkpoint has no control tokens, added %s: its gate is untrained", missing)
    return False

"""Write what a training made of a checkpoint as a model-version folder of its own."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import torch

from embedder.model.audio_encoder import AudioEncoder, save_audio_encoder
from embedder.model.backbone import Backbone
from embedder.model.checkpoint import Checkpoint
from embedder.model.embedding_head import save_embedding_head
from embedder.version import Manifest

IMAGE_PROCESSOR = "preprocessor_config.json"


def write_version(
    backbone: Backbone,
    checkpoint: Checkpoint,
    folder: Path,
    *,
    manifest: Manifest,
    is_half: bool = False,
) -> None:
    """Write a folder that `embedder.model.checkpoint.load` reads to the same weights.

    The manifest is written last, so that a folder that has one is whole.

    Args:
        backbone: trained; brought to the precision that `load` gives it on its device, in place.
        checkpoint: what the training started from; its tokenizer, control tokens included, and its
            image processor are the version's.
        folder: created when missing; what a killed call left in it is overwritten.
        manifest: of the new version.
        is_half: whether weights are rounded to float16, which takes half the room in float32's
            place; a reader on a CPU computes in float32 all the same.
    """
    folder.mkdir(parents=True, exist_ok=True)
    dtype = torch.float16 if is_half else checkpoint.backbone.model.dtype
    backbone.model.to(dtype).save_pretrained(folder)
    if isinstance(backbone.audio, AudioEncoder):  # another one is part of the network
        save_audio_encoder(backbone.audio.to(dtype), folder)
    if backbone.head is not None:
        save_embedding_head(backbone.head.to(dtype), folder)
    checkpoint.inputs.tokenizer.save_pretrained(folder)
    shutil.copyfile(checkpoint.folder / IMAGE_PROCESSOR, folder / IMAGE_PROCESSOR)
    values = json.dumps(asdict(manifest), indent=2)
    (folder / "manifest.json").write_text(f"{values}\n")

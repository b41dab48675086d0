"""Write what a training made of a checkpoint as a model-version folder of its own."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

from embedder.model.backbone import Backbone
from embedder.model.checkpoint import Checkpoint
from embedder.version import Manifest

IMAGE_PROCESSOR = "preprocessor_config.json"


def write_version(
    backbone: Backbone, checkpoint: Checkpoint, folder: Path, *, manifest: Manifest
) -> None:
    """Write a folder that `embedder.model.checkpoint.load` reads to the same weights.

    The manifest is written last, so that a folder that has one is whole.

    Args:
        backbone: trained; brought to the precision that `load` gives it on its device, in place.
        checkpoint: what the training started from; its tokenizer, control tokens included, and its
            image processor are the version's.
        folder: created when missing; what a killed call left in it is overwritten.
        manifest: of the new version.
    """
    folder.mkdir(parents=True, exist_ok=True)
    backbone.model.to(checkpoint.backbone.model.dtype).save_pretrained(folder)
    checkpoint.inputs.tokenizer.save_pretrained(folder)
    shutil.copyfile(checkpoint.folder / IMAGE_PROCESSOR, folder / IMAGE_PROCESSOR)
    values = json.dumps(asdict(manifest), indent=2)
    (folder / "manifest.json").write_text(f"{values}\n")

"""Write a trained nano as a model-version folder that `embedder.version` can load."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from embedder.nano import architecture
from embedder.prompting.inputs import Inputs

MANIFEST = {
    "name": "nano",
    "query_instruction": architecture.QUERY_INSTRUCTION,
    "item_instruction": architecture.ITEM_INSTRUCTION,
    "dims": [32, 64, 128],
    "theta": 0.5,
    "max_text_tokens": 256,
    "max_image_tokens": 16,
    "max_new_tokens": 96,
}


def save_checkpoint(
    model: Any, inputs: Inputs, folder: Path, *, manifest: Mapping[str, Any] = MANIFEST
) -> None:
    """Write weights in half precision, configuration, both processors and the manifest.

    Args:
        model: a nano, trained further or not.
        inputs: its tokenizer; the image processor is nano's own.
        folder: created when missing.
        manifest: `embedder.version.Manifest`'s keys.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        name: tensor.detach().to(torch.float16).contiguous()
        for name, tensor in model.state_dict().items()
        if name != "lm_head.weight"  # tied to the embeddings
    }
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    model.config.save_pretrained(folder)
    inputs.tokenizer.save_pretrained(folder)
    architecture.build_image_processor().save_pretrained(folder)
    (folder / "manifest.json").write_text(json.dumps(dict(manifest), indent=2) + "\n")

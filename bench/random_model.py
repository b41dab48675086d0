"""Checkpoints of published shapes with random weights, made where they are to run.

Speed does not depend on what weights are worth. Tokenizer and prompts are nano's, so its checkpoint
is all that is needed; an embedding matrix has the published model's rows nevertheless.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen3VLForConditionalGeneration

from embedder.model.backbone import Backbone
from embedder.model.checkpoint import Checkpoint, load
from embedder.precision import Dtype
from embedder.version import SHIPPED

SHAPES: dict[str, dict[str, dict[str, Any]]] = {
    "tiny": {
        "text": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3}
        | {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "vocab_size": 4_000},
        "vision": {"depth": 3, "hidden_size": 64, "intermediate_size": 128, "num_heads": 4}
        | {"num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]},
    },
    "qwen3-vl-2b": {
        "text": {"hidden_size": 2_048, "intermediate_size": 6_144, "num_hidden_layers": 28}
        | {"num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128},
        "vision": {"depth": 24, "hidden_size": 1_024, "intermediate_size": 4_096, "num_heads": 16}
        | {"num_position_embeddings": 2_304, "deepstack_visual_indexes": [5, 11, 17]},
    },
    "qwen3-vl-4b": {
        "text": {"hidden_size": 2_560, "intermediate_size": 9_728, "num_hidden_layers": 36}
        | {"num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128},
        "vision": {"depth": 24, "hidden_size": 1_024, "intermediate_size": 4_096, "num_heads": 16}
        | {"num_position_embeddings": 2_304, "deepstack_visual_indexes": [5, 11, 17]},
    },
    "qwen3-vl-8b": {
        "text": {"hidden_size": 4_096, "intermediate_size": 12_288, "num_hidden_layers": 36}
        | {"num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128},
        "vision": {"depth": 27, "hidden_size": 1_152, "intermediate_size": 4_304, "num_heads": 16}
        | {"num_position_embeddings": 2_304, "deepstack_visual_indexes": [8, 16, 24]},
    },
}
VOCABULARY = 151_936
"""Rows of the published models' embedding matrix."""

SECTIONS = {128: [24, 20, 20], 32: [8, 4, 4]}
"""Of a head's rotary angles by its size: how many turn with time, height and width."""

TINY = "tiny"
LIMITS = {"max_text_tokens": 512, "max_image_tokens": 768}
LEAST_PIXELS = 256 * 256


def random_checkpoint(
    shape: str, folder: Path, *, device: str, dtype: Dtype, max_new_tokens: int = 128
) -> Checkpoint:
    """Make a checkpoint of a shape.

    Args:
        shape: one of `SHAPES`.
        folder: gets the files that a version is opened with, all but the weights.
        device: has the weights from the first.
        dtype: of the weights.
        max_new_tokens: of every rationale, for none may end before.
    """
    small = load(str(_folder(folder, shape, max_new_tokens)))
    config = small.backbone.model.config
    text, vision = SHAPES[shape]["text"], SHAPES[shape]["vision"]
    config.text_config.update({"vocab_size": VOCABULARY} | text)
    config.text_config.rope_parameters["mrope_section"] = SECTIONS[text["head_dim"]]
    config.vision_config.update(vision | {"out_hidden_size": text["hidden_size"]})
    config._attn_implementation = "sdpa"
    torch.manual_seed(0)
    with torch.device(device):
        model = Qwen3VLForConditionalGeneration._from_config(config, dtype=getattr(torch, dtype))
    for module in model.modules():
        # Rows of unit gain: of weights of 0.02 all states would be alike, whatever is asked.
        if isinstance(module, torch.nn.Linear) and module is not model.lm_head:
            module.weight.data.normal_(0, module.in_features**-0.5)
    inputs = small.inputs
    inputs.forbidden_ids = sorted({*inputs.forbidden_ids, inputs.emb_id, inputs.summary_id})
    backbone = Backbone(model.eval().requires_grad_(False))
    return Checkpoint(small.folder, small.manifest, backbone, inputs, gate_is_trained=True)


def _folder(folder: Path, shape: str, max_new_tokens: int) -> Path:
    """Write nano's folder, with the limits of the larger models where the shape is one."""
    shutil.copytree(SHIPPED["nano"], folder, dirs_exist_ok=True)
    limits = {"name": f"random-{shape}", "max_new_tokens": max_new_tokens, "dims": []}
    _change(folder / "manifest.json", limits if shape == TINY else limits | LIMITS)
    if shape != TINY:
        size = {"shortest_edge": LEAST_PIXELS, "longest_edge": 4_096**2}
        _change(folder / "preprocessor_config.json", {"size": size})
    return folder


def _change(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))

"""The text side of a version as a folder that `SentenceTransformer(folder)` loads.

Another service can then ask by text without Ponder. The image side has no such form: the module for
images of sentence-transformers knows transformers' own models alone, and no head over them.
"""

from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize
from torch import nn

from embedder.pair.encoder import load_heads
from embedder.pair.heads import Head
from embedder.pair.version import TEXT
from embedder.sentence.encoder import load_sentence_model


def export_texts(version: Path, folder: Path) -> None:
    """Write the text encoder with its head, of sentence-transformers' own modules.

    Args:
        version: folder of the version.
        folder: where to write; must not exist yet or be empty.

    Raises:
        FileExistsError: the folder holds something.
    """
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} must be empty or not exist; choose another folder")
    text = load_sentence_model(str(version / TEXT))
    exported = SentenceTransformer(
        modules=[*text, Normalize(), *_layers(load_heads(version).text), Normalize()],
        prompts={name: prompt for name, prompt in text.prompts.items() if prompt},
        default_prompt_name=text.default_prompt_name,
        similarity_fn_name="cosine",
        device="cpu",
    )
    exported.save(str(folder), create_model_card=False)


@torch.no_grad()
def _layers(head: Head) -> tuple[Dense, Dense]:
    """Return the head as two layers, the first of which centres and scales as well."""
    weight = head.hidden.weight * head.scale
    bias = head.hidden.bias - weight @ head.mean_F
    return (
        _layer(weight, bias, nn.GELU()),
        _layer(head.out.weight.clone(), head.out.bias.clone(), nn.Identity()),
    )


def _layer(weight: torch.Tensor, bias: torch.Tensor, activation: nn.Module) -> Dense:
    return Dense(
        weight.shape[1],
        weight.shape[0],
        activation_function=activation,
        init_weight=weight,
        init_bias=bias,
    )

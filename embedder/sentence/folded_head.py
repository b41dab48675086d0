"""Put an embedding head in the place of the layers that it started as: a model as any other.

Its last layers then embed and no longer write, so it answers directly alone.
"""

import json
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from catalog.atomic_file import write_atomically
from embedder.head_config import CONFIG_KEY, EmbeddingHeadConfig
from embedder.model.audio_encoder import WEIGHTS as AUDIO_WEIGHTS
from embedder.model.embedding_head import WEIGHTS

TEXT = "model.language_model"


def require_foldable(folder: Path) -> None:
    """Refuse a model whose head is not made of layers like the reasoner's.

    Raises:
        ValueError: it is.
    """
    config = json.loads((folder / "config.json").read_text())
    head = EmbeddingHeadConfig.told(config.get(CONFIG_KEY))
    if head is not None and head.kind != "layers":
        raise ValueError(
            f"{folder} must have an embedding head of kind layers to be one model without it, got "
            f"{head.kind}; serve it with Ponder"
        )


def fold_head(folder: Path) -> None:
    """Rewrite a checkpoint's folder so that it has no head and the same direct vectors.

    Args:
        folder: of the checkpoint; one without a head is left as it is.
    """
    config = json.loads((folder / "config.json").read_text())
    head = EmbeddingHeadConfig.told(config.pop(CONFIG_KEY, None))
    if head is None:
        return
    fork = config["text_config"]["num_hidden_layers"] - head.num_layers
    own = {_place(name, fork): tensor for name, tensor in load_file(folder / WEIGHTS).items()}
    for path in folder.glob("*.safetensors"):
        if path.name in (WEIGHTS, AUDIO_WEIGHTS):
            continue
        weights = load_file(path)
        mine = own.keys() & weights.keys()
        weights |= {name: own[name].to(weights[name].dtype) for name in mine}
        # In one step, for what was read may still be the file itself, mapped into memory.
        write_atomically(path, partial(_save, weights))
    (folder / WEIGHTS).unlink()
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def _save(weights: dict[str, torch.Tensor], path: Path) -> None:
    save_file(weights, path, {"format": "pt"})


def _place(name: str, fork: int) -> str:
    """Return what a weight of the head is called as one of the model's.

    >>> _place("layers.0.mlp.up_proj.weight", 26)
    'model.language_model.layers.26.mlp.up_proj.weight'
    """
    part, _, rest = name.partition(".")
    if part != "layers":
        return f"{TEXT}.{name}"
    number, _, weight = rest.partition(".")
    return f"{TEXT}.layers.{fork + int(number)}.{weight}"

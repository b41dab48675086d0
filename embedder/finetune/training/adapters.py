"""Trainable weights: all, all but the vision encoder, or low-rank adapters (LoRA).

Embed-RL, on the same family of backbones, trains LoRA on the text layers and leaves the image
encoder alone. LoRA does not train embeddings, so the rows of the control tokens, which are new to a
stock backbone, are trained beside it.
"""

import copy
from collections.abc import Iterator

import torch
from peft import LoraConfig, LoraModel

from embedder.finetune.training.config import Lora, TrainingConfig
from embedder.finetune.training.optimizer import AveragedAdamW
from embedder.model.audio_encoder import AudioEncoder
from embedder.model.backbone import Backbone
from embedder.model.omni_audio import OmniAudio
from embedder.prompting.inputs import Inputs

OMNI_AUDIO = r".*audio_tower.*"
TEXT_PROJECTIONS = r".*language_model.*\.(q|k|v|o|gate|up|down)_proj"


class TrainedBackbone:
    """A backbone that is being trained, as its configuration wants it; a `loop.Trainable`."""

    def __init__(self, backbone: Backbone, inputs: Inputs, config: TrainingConfig) -> None:
        """Mark what is trained, in place.

        Args:
            backbone: the model.
            inputs: knows its control tokens.
            config: which weights are trained.
        """
        self.backbone = backbone
        self._adapted = make_trainable(
            backbone,
            inputs,
            lora=config.lora,
            train_vision_encoder=config.train_vision_encoder,
            train_audio_encoder=config.train_audio_encoder,
            seed=config.seed,
        )

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """Yield all weights; those that are trained require a gradient."""
        return self.backbone.parameters()

    def averaged(self, optimizer: AveragedAdamW) -> Backbone:
        """Return a copy with the averaged weights, adapters merged, ready to encode."""
        return averaged(self.backbone, optimizer, self._adapted)


def require_no_head(backbone: Backbone) -> None:
    """Refuse to train vectors by way of a reasoner that an embedding head stands on.

    Raises:
        ValueError: the model has a head.
    """
    if backbone.head is not None:
        raise ValueError(
            "the checkpoint has an embedding head, which does not follow when its reasoner is "
            "changed; train the head (recipe `unified`), or start from another checkpoint"
        )


def make_trainable(
    backbone: Backbone,
    inputs: Inputs,
    *,
    lora: Lora | None,
    train_vision_encoder: bool,
    train_audio_encoder: bool,
    seed: int,
) -> LoraModel | None:
    """Mark what is trained, in place; it is kept in float32 whatever the rest is in.

    An embedding head never is: it learns by itself (`embedder.finetune.training.embedding_head`).

    Args:
        backbone: the model.
        inputs: knows the control tokens.
        lora: None: all weights are trained.
        train_vision_encoder: whether the vision encoder is among them; with `lora` it never is.
        train_audio_encoder: whether an audio encoder is, if there is one; with `lora` one that a
            fine-tune gave to the model, and none that it came with.
        seed: of the adapters' first weights.

    Returns:
        With `lora` the wrapping that `averaged` takes off again.
    """
    adapted = None
    if lora is None:
        backbone.model.requires_grad_(True)
        backbone.model.model.visual.requires_grad_(train_vision_encoder)
    else:
        with torch.random.fork_rng():  # peft draws from the global source
            torch.manual_seed(seed)
            adapted = LoraModel(
                backbone.model, _peft_config(backbone, lora, inputs.control_ids), "default"
            )
    if backbone.audio is not None and (lora is None or isinstance(backbone.audio, AudioEncoder)):
        backbone.audio.requires_grad_(train_audio_encoder)
    for parameter in backbone.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return adapted


def _peft_config(backbone: Backbone, lora: Lora, control: list[int]) -> LoraConfig:
    rows = {"embed_tokens": control}
    if not backbone.model.config.tie_word_embeddings:
        rows["lm_head"] = control
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        target_modules=TEXT_PROJECTIONS,
        # With experts peft goes by the projections' names alone, which this encoder has as well.
        exclude_modules=OMNI_AUDIO if isinstance(backbone.audio, OmniAudio) else None,
        trainable_token_indices=rows,
    )


def averaged(
    backbone: Backbone, optimizer: AveragedAdamW, adapted: LoraModel | None = None
) -> Backbone:
    """Return a copy of the model with the averaged weights, adapters merged, ready to encode.

    Args:
        backbone: the model that is trained.
        optimizer: over its weights.
        adapted: what `make_trainable` returned for it.
    """
    # Copied together, so that the copied wrapping is that of the copied model.
    copied, wrapping = copy.deepcopy((backbone, adapted))
    trained = [p for p in copied.parameters() if p.requires_grad]
    copied.eval().requires_grad_(False)
    for parameter, average in zip(trained, optimizer.average, strict=True):
        parameter.copy_(average)
    if wrapping is not None:
        wrapping.merge_and_unload()
    return copied

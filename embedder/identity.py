"""Identity of any embedder by the name that settings have for it, without loading it; no torch.

Three kinds of model stand behind one name: a Qwen3-VL-class one that may reason (nano, a folder, a
hub id), a sentence-transformers one (`st:`), and frozen encoders with heads (a folder that a
fine-tune of `pair:` left).
"""

from pathlib import Path
from typing import Literal

from embedder.content import Policy
from embedder.pair.version import PAIR, folder_version, is_pair, pair_models, pair_version
from embedder.precision import Dtype
from embedder.sentence.version import sentence_name, sentence_version
from embedder.version import Manifest, configured_version, fetched_folder, read_manifest, resolve

SENTENCE = "st:"
"""Before the name of a sentence-transformers model."""

Kind = Literal["reasoning", "sentence", "pair"]


def kind_of(model: str) -> Kind:
    """Return what kind of model a name stands for.

    Raises:
        ValueError: it names encoders that have no heads yet, which only a fine-tune starts from.
    """
    if model.startswith(SENTENCE):
        return "sentence"
    if model.startswith(PAIR):
        raise ValueError(
            f"a model must have a space of its own, got {model!r}, whose encoders have none in "
            f"common; train heads with `ponder finetune --base {model}`, and take what it registers"
        )
    return "pair" if is_pair(model) else "reasoning"


def model_version(
    model: str, policy: Policy, *, item_theta: float | None = None, dtype: Dtype = "float32"
) -> str:
    """Return the id of a model under a policy; only of one that reasons does it depend on that.

    Args:
        model: as `kind_of` takes it.
        policy: who reasons.
        item_theta: of the gate where items are embedded, if that is not the manifest's own.
        dtype: what its weights are loaded as; of frozen encoders with heads that is always float32.
    """
    match kind_of(model):
        case "sentence":
            return sentence_version(model.removeprefix(SENTENCE), dtype=dtype)
        case "pair":
            return pair_version(Path(model))
        case "reasoning":
            return configured_version(model, policy, item_theta=item_theta, dtype=dtype)


def model_manifest(model: str) -> Manifest:
    """Return how a model is used; one that never reasons has a theta of 1."""
    match kind_of(model):
        case "sentence":
            return Manifest(name=sentence_name(model.removeprefix(SENTENCE)), theta=1.0)
        case "pair":
            return read_manifest(Path(model))
        case "reasoning":
            return read_manifest(resolve(model))


def base_version(base: str) -> str:
    """Return the id of what a fine-tune starts from: a model's, or those of a pair's encoders."""
    if not base.startswith(PAIR):
        return model_version(base, "auto")
    text, image = pair_models(base)
    return f"{PAIR}{sentence_version(text)},{folder_version(fetched_folder(image))}"

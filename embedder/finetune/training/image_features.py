"""Cache of image features, for trainings that leave the vision encoder alone."""

import hashlib
from collections.abc import Sequence

import torch

from embedder.model.backbone import Backbone
from embedder.model.vision_encoder import ImageFeatures
from embedder.prompting.inputs import Inputs
from embedder.prompting.sample import Sample


class ImageFeatureCache:
    """Features of images by content, in memory.

    One cache may serve any number of trainings that start from the same vision encoder.
    """

    def __init__(self, backbone: Backbone, inputs: Inputs) -> None:
        """Start empty.

        Args:
            backbone: its encoder encodes; no training may change it.
            inputs: its image processor.
        """
        self._backbone, self._inputs = backbone, inputs
        self._features: dict[bytes, ImageFeatures] = {}

    def features(self, samples: Sequence[Sample]) -> ImageFeatures | None:
        """Return features of the samples' images, in order; None when no sample has one."""
        with_image = [sample for sample in samples if sample.patches_PV is not None]
        if not with_image:
            return None
        keys = [_key(sample) for sample in with_image]
        missing = {
            key: sample
            for key, sample in zip(keys, with_image, strict=True)
            if key not in self._features
        }
        if missing:
            self._encode(missing)
        found = [self._features[key] for key in keys]
        return ImageFeatures(
            torch.cat([one.tokens_TH for one in found]),
            [torch.cat(level) for level in zip(*(one.deepstack for one in found), strict=True)],
        )

    @torch.no_grad()
    def _encode(self, missing: dict[bytes, Sample]) -> None:
        prompts = self._inputs.prompts(list(missing.values()), device=self._backbone.device)
        assert prompts.patches_PV is not None
        encoded = self._backbone.images.encode(prompts.patches_PV, prompts.grids, prompts.motion)
        num_patches = [
            len(sample.patches_PV) for sample in missing.values() if sample.patches_PV is not None
        ]
        merged = sum(num_patches) // len(encoded.tokens_TH)
        sizes = [number // merged for number in num_patches]
        levels = [encoded.tokens_TH.split(sizes), *(one.split(sizes) for one in encoded.deepstack)]
        for key, (tokens, *deepstack) in zip(missing, zip(*levels, strict=True), strict=True):
            self._features[key] = ImageFeatures(tokens, deepstack)


def require_frozen_encoder(features: ImageFeatureCache | None, *, is_trained: bool) -> None:
    """Refuse features that a training would make stale.

    Raises:
        ValueError: there is a cache, and the encoder that it was filled by is to be trained.
    """
    if features is not None and is_trained:
        raise ValueError(
            "image features must come from an encoder that is not trained; set "
            "train_vision_encoder to False or give no cache"
        )


def _key(sample: Sample) -> bytes:
    assert sample.patches_PV is not None
    digest = hashlib.blake2b(repr(sample.grids).encode(), digest_size=16)
    digest.update(sample.patches_PV.tobytes())
    if sample.later_MU is not None:
        digest.update(sample.later_MU.tobytes())
    return digest.digest()

"""Pictures whose features are computed once, for trainings that leave the picture tower alone."""

import hashlib
import math
from collections.abc import Sequence

import torch

from embedder.model.backbone import Backbone
from embedder.model.vision_encoder import PictureFeatures
from embedder.prompting.inputs import Inputs
from embedder.prompting.sample import Sample


class PictureCache:
    """Features of pictures by content, in memory.

    One cache may serve any number of trainings that start from the same picture tower.
    """

    def __init__(self, backbone: Backbone, inputs: Inputs) -> None:
        """An empty cache.

        Args:
            backbone: its tower encodes; no training may change it.
            inputs: its image processor.
        """
        self._backbone, self._inputs = backbone, inputs
        self._features: dict[bytes, PictureFeatures] = {}

    def features(self, samples: Sequence[Sample]) -> PictureFeatures | None:
        """Features of the samples' pictures, in order; None when no sample has one."""
        with_picture = [sample for sample in samples if sample.patches_PV is not None]
        if not with_picture:
            return None
        keys = [_key(sample) for sample in with_picture]
        missing = {
            key: sample
            for key, sample in zip(keys, with_picture, strict=True)
            if key not in self._features
        }
        if missing:
            self._encode(missing)
        found = [self._features[key] for key in keys]
        return PictureFeatures(
            torch.cat([one.tokens_TH for one in found]),
            [torch.cat(level) for level in zip(*(one.deepstack for one in found), strict=True)],
        )

    @torch.no_grad()
    def _encode(self, missing: dict[bytes, Sample]) -> None:
        prompts = self._inputs.prompts(list(missing.values()), device=self._backbone.device)
        assert prompts.patches_PV is not None
        encoded = self._backbone.pictures.encode(prompts.patches_PV, prompts.grids)
        num_patches = [math.prod(grid) for grid in prompts.grids]
        merged = sum(num_patches) // len(encoded.tokens_TH)
        sizes = [number // merged for number in num_patches]
        levels = [encoded.tokens_TH.split(sizes), *(one.split(sizes) for one in encoded.deepstack)]
        for key, (tokens, *deepstack) in zip(missing, zip(*levels, strict=True), strict=True):
            self._features[key] = PictureFeatures(tokens, deepstack)


def require_fixed_tower(pictures: PictureCache | None, *, is_trained: bool) -> None:
    """Refuses features that a training would make stale.

    Raises:
        ValueError: there is a cache, and the tower that it was filled by is to be trained.
    """
    if pictures is not None and is_trained:
        raise ValueError(
            "picture features must come from a tower that is not trained; set train_pictures "
            "to False or give no cache"
        )


def _key(sample: Sample) -> bytes:
    assert sample.patches_PV is not None
    digest = hashlib.blake2b(repr(sample.grid).encode(), digest_size=16)
    digest.update(sample.patches_PV.tobytes())
    return digest.digest()

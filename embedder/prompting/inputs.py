"""Contents to model inputs: tokens and patches, in batches.

Shape legend:
  B = sequences in the batch, L = longest sequence, P = image patches in the batch,
  V = values of one patch, all frames of it
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from catalog.audio.limits import AudioError
from catalog.decoding.decoder import GuardedDecoder
from embedder.content import Content, nothing_left
from embedder.prompting.audio import AudioReader
from embedder.prompting.audio_config import AudioConfig
from embedder.prompting.clips import ClipReader
from embedder.prompting.images import open_image
from embedder.prompting.patches import PatchCutter
from embedder.prompting.prompts import Prompts
from embedder.prompting.rotary import Grid
from embedder.prompting.sample import Sample
from embedder.prompting.template import (
    AUDIO_PAD,
    IMAGE_PAD,
    PONDER_TOKENS,
    audio_part,
    clip_part,
    image_part,
    neutraliser,
    prompt,
)
from embedder.prompting.vision_config import VisionConfig

DEFAULT_VISION = VisionConfig()


@dataclass(frozen=True, slots=True)
class Seen:
    """The images, the clip and the sound of a content, before any text."""

    text: str
    """Their place in a prompt."""

    num_tokens: int
    """Of these, those that stand for parts of images, frames and sounds."""

    sample: Sample
    """Their patches and spectrogram, without tokens."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples as transformers' own `generate` takes them."""

    input_ids_BL: torch.Tensor
    attention_mask_BL: torch.Tensor
    image_mask_BL: torch.Tensor
    """1 where the token stands for a part of an image."""

    patches_PV: torch.Tensor | None
    grids: torch.Tensor | None
    """[images, 3]: patches of each image along time, height and width."""

    def to(self, device: torch.device | str) -> "Batch":
        """Return the batch on another device."""
        return Batch(
            self.input_ids_BL.to(device),
            self.attention_mask_BL.to(device),
            self.image_mask_BL.to(device),
            None if self.patches_PV is None else self.patches_PV.to(device),
            None if self.grids is None else self.grids.to(device),
        )


class Inputs:
    """Builds samples and batches with a checkpoint's tokenizer and image processor."""

    def __init__(
        self,
        tokenizer: Any,
        image_processor: Any,
        *,
        max_text_tokens: int,
        vision: VisionConfig = DEFAULT_VISION,
        audio: AudioConfig | None = None,
        max_audio_s: float = 30.0,
    ) -> None:
        """Keeps both processors.

        Args:
            tokenizer: a fast Hugging Face tokenizer that knows `PONDER_TOKENS`.
            image_processor: a Pillow-backed Qwen2-VL image processor.
            max_text_tokens: content text is cut after so many tokens.
            vision: how much of further images and clips is read.
            audio: the model's audio encoder; None: it has none, and sounds are passed over.
            max_audio_s: seconds of a sound that are read.
        """
        self.max_text_tokens = max_text_tokens
        self.vision = vision
        self._decoder = GuardedDecoder()
        self.clips = ClipReader(vision.sampling, self._decoder)
        self.audio: AudioReader | None = None
        if audio is not None:
            self.audio = AudioReader(audio, self._decoder, max_s=max_audio_s)
        self._cutter = PatchCutter(image_processor)
        self._take(tokenizer)

    def with_tokenizer(self, tokenizer: Any) -> "Inputs":
        """Return the same with another tokenizer, such as one that knows more tokens."""
        other = copy.copy(self)
        other._take(tokenizer)
        return other

    def with_audio(self, audio: AudioConfig, *, max_s: float) -> "Inputs":
        """Return the same for a model with an audio encoder, of which `max_s` seconds are read."""
        other = copy.copy(self)
        other.audio = AudioReader(audio, self._decoder, max_s=max_s)
        return other

    def _take(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._neutralise = neutraliser(tokenizer.get_added_vocab())
        self._image_token = tokenizer.convert_tokens_to_ids(IMAGE_PAD)
        self._audio_token = tokenizer.get_added_vocab().get(AUDIO_PAD)
        ids = tokenizer.convert_tokens_to_ids(list(PONDER_TOKENS))
        self.direct_id, self.reason_id, self.summary_id, self.emb_id = ids
        self.forbidden_ids = sorted(
            {*tokenizer.all_special_ids, self.direct_id, self.reason_id}
            - {self.summary_id, self.emb_id}
        )
        """Control tokens that a rationale must not hold."""

    @property
    def gate_ids(self) -> list[int]:
        """The gate's tokens in the order of its logits."""
        return [self.direct_id, self.reason_id]

    @property
    def control_ids(self) -> list[int]:
        """The control tokens that Ponder has added."""
        return [*self.gate_ids, self.summary_id, self.emb_id]

    def tokens(self, text: str) -> list[int]:
        """Tokenise a trusted text; control tokens in it are recognised."""
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def neutralised(self, text: str) -> str:
        """Return an untrusted text, unable to spell a control token."""
        return self._neutralise(text)

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of generated tokens, without control tokens."""
        return self.tokenizer.decode(tokens, skip_special_tokens=True).strip()

    def sample(self, content: Content, instruction: str) -> Sample:
        """Prepare the prompt for one query or item.

        Raises:
            catalog.images.check.ImageError: an image cannot be read.
            catalog.clips.limits.ClipError: the clip cannot be read.
            catalog.audio.limits.AudioError: the sound cannot be read, or is all there is to a model
                that reads none.
        """
        # No text is read beyond 16 characters a token: one of 10 MB costs no more than others.
        text = self._neutralise(content.text[: self.max_text_tokens * 16])
        seen = self.seen(content)
        return replace(seen.sample, tokens=self._prompt_tokens(instruction, text, seen))

    def seen(self, content: Content) -> "Seen":
        """Prepare the images, the clip and the sound of a content; errors as of `sample`."""
        cuts = [] if content.image is None else [self._cutter.cut(open_image(content.image))]
        if content.gallery:
            share = max(1, self.vision.max_gallery_tokens // len(content.gallery))
            further = map(open_image, content.gallery)
            cuts += [self._cutter.cut(image, max_tokens=share) for image in further]
        patches, grids = [patches for patches, _ in cuts], tuple(grid for _, grid in cuts)
        text = "".join(image_part(self._num_tokens(grid)) for grid in grids)
        later = None
        if content.clip is not None:
            clip = self.clips.open_clip(content.clip)
            most = self.vision.max_clip_tokens
            first, later, moments = self._cutter.cut_clip(clip.frames_THWC, max_tokens=most)
            patches, grids = [*patches, first], grids + moments
            text += clip_part(self._cutter.moments(clip.times_s), self._num_tokens(moments[0]))
        joined = np.concatenate(patches) if patches else None
        num_tokens = sum(map(self._num_tokens, grids))
        if (mel := self._heard(content)) is None or self.audio is None:
            return Seen(text, num_tokens, Sample([], joined, grids, later))
        heard = self.audio.num_tokens(mel)
        sample = Sample([], joined, grids, later, mel)
        return Seen(text + audio_part(heard), num_tokens + heard, sample)

    def _heard(self, content: Content) -> np.ndarray | None:
        """Return the spectrogram of a content's sound; None without one, or where none is read."""
        if self.audio is not None:
            return None if content.audio is None else self.audio.open_audio(content.audio)
        if (reason := nothing_left(content, "the model", reads_clips=True)) is not None:
            raise AudioError(reason)
        return None

    def _num_tokens(self, grid: Grid) -> int:
        return math.prod(grid) // self._cutter.merge_size**2

    def _prompt_tokens(self, instruction: str, text: str, seen: "Seen") -> list[int]:
        tokens = self.tokens(prompt(instruction, text, shown=seen.text))
        if len(tokens) <= self.max_text_tokens + seen.num_tokens:  # so the text alone is shorter
            return tokens
        cut = self._cut(text)
        if cut == text:
            return tokens
        return self.tokens(prompt(instruction, cut, shown=seen.text))

    def _cut(self, text: str) -> str:
        offsets = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)[
            "offset_mapping"
        ]
        if len(offsets) <= self.max_text_tokens:
            return text
        return text[: offsets[self.max_text_tokens - 1][1]]

    def prompts(self, samples: Sequence[Sample], *, device: torch.device) -> Prompts:
        """Gather samples into one batch for the model's own forward, padded on the right."""
        return Prompts.of(
            samples,
            image_token=self._image_token,
            audio_token=self._audio_token,
            cutter=self._cutter,
            device=device,
        )

    def batch(self, samples: Sequence[Sample]) -> Batch:
        """Gather samples into one left-padded batch, as transformers' `generate` needs it."""
        longest = max(len(sample) for sample in samples)
        ids = np.full((len(samples), longest), self.tokenizer.pad_token_id, dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, sample in enumerate(samples):
            ids[row, longest - len(sample) :] = sample.tokens
            mask[row, longest - len(sample) :] = 1
        patches = [
            self._cutter.with_frames(sample.patches_PV, sample.later_MU)
            for sample in samples
            if sample.patches_PV is not None
        ]
        grids = [grid for sample in samples for grid in sample.grids]
        return Batch(
            torch.from_numpy(ids),
            torch.from_numpy(mask),
            torch.from_numpy((ids == self._image_token).astype(np.int64)),
            torch.from_numpy(np.concatenate(patches)) if patches else None,
            torch.tensor(grids) if grids else None,
        )

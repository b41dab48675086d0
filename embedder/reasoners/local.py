"""A separate local model as the reasoner: a Qwen-VL checkpoint and transformers' `generate`.

Shape legend: B = sequences in the batch, L = prompt length with padding, T = new tokens
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from transformers import GenerationConfig, LogitsProcessorList

from catalog.audio.limits import AudioError
from catalog.records import RecordError
from embedder.content import Content, Side, nothing_left
from embedder.engine.batches import longest_first
from embedder.engine.sampling import SeededDraw
from embedder.model.checkpoint import Checkpoint, load
from embedder.prompting.answers import read_rationale
from embedder.prompting.inputs import Batch
from embedder.prompting.sample import Sample
from embedder.prompting.template import TURN_END
from embedder.reasoners.cache import content_key
from embedder.reasoners.config import LocalConfig
from embedder.reasoners.prompt import INSTRUCTIONS, read_answer
from embedder.reasoners.reasoner import NoRationale, Rationale


class LocalReasoner:
    """Writes rationales in batches, greedily or drawn; implements `reasoner.Reasoner`.

    What is drawn depends on the content and the seed, and not on the rest of the batch.

    An MMEmb-R1 checkpoint is asked in its own template and reasons as it was trained to; any other
    is asked in words (`embedder.reasoners.prompt`).
    """

    def __init__(self, checkpoint: Checkpoint, config: LocalConfig) -> None:
        """Keeps a loaded model; `open` loads it."""
        self.name, self.prompt_version = config.name, config.prompt_version
        self._checkpoint = checkpoint
        self._config = config

    @classmethod
    def open(cls, config: LocalConfig) -> "LocalReasoner":
        """Loads the configured model."""
        return cls(load(config.model, device=config.device, dtype=config.dtype), config)

    def reason(self, contents: Sequence[Content], side: Side) -> list[Rationale | NoRationale]:
        """Return what the model wrote about each content, in order."""
        outcomes: dict[int, Rationale | NoRationale] = {}
        samples: dict[int, Sample] = {}
        for row, content in enumerate(contents):
            try:
                samples[row] = self._sample(content, side)
            except RecordError as error:
                outcomes[row] = NoRationale(str(error))
        readable = list(samples)
        for batch in longest_first(list(samples.values()), batch_size=self._config.batch_size):
            rows = [readable[place] for place in batch]
            keys = [content_key(contents[row]) for row in rows]
            answers = self._generate([samples[row] for row in rows], keys)
            outcomes.update(zip(rows, map(self._read, answers), strict=True))
        return [outcomes[row] for row in range(len(contents))]

    def _sample(self, content: Content, side: Side) -> Sample:
        checkpoint, inputs = self._checkpoint, self._checkpoint.inputs
        if (reason := nothing_left(content, self.name, reads_clips=True)) is not None:
            raise AudioError(reason)
        content = replace(content, audio=None)  # transformers' `generate` is given none
        if not checkpoint.gate_is_trained:
            return inputs.sample(content, INSTRUCTIONS[side])
        sample = inputs.sample(content, checkpoint.manifest.instruction(side))
        return sample.extended([inputs.reason_id])

    @torch.inference_mode()
    def _generate(self, samples: list[Sample], keys: list[str]) -> list[list[int]]:
        backbone, inputs = self._checkpoint.backbone, self._checkpoint.inputs
        batch: Batch = inputs.batch(samples).to(backbone.device)
        images = {}
        if batch.patches_PV is not None:
            patches = batch.patches_PV.to(backbone.model.dtype)
            images = {"pixel_values": patches, "image_grid_thw": batch.grids}
        sequences_BT = backbone.model.generate(
            input_ids=batch.input_ids_BL,
            attention_mask=batch.attention_mask_BL,
            mm_token_type_ids=batch.image_mask_BL,
            generation_config=self._generation(),
            logits_processor=self._draw(keys),
            **images,
        )
        return sequences_BT[:, batch.input_ids_BL.shape[1] :].tolist()

    def _generation(self) -> GenerationConfig:
        tokenizer, inputs = self._checkpoint.inputs.tokenizer, self._checkpoint.inputs
        ends = {tokenizer.convert_tokens_to_ids(TURN_END), tokenizer.eos_token_id, inputs.emb_id}
        return GenerationConfig(
            do_sample=False,
            max_new_tokens=self._config.max_tokens,
            eos_token_id=sorted(ends),
            pad_token_id=tokenizer.pad_token_id,
            suppress_tokens=sorted({*inputs.forbidden_ids} - ends),
        )

    def _draw(self, keys: list[str]) -> LogitsProcessorList:
        temperature, seed = self._config.temperature, self._config.seed
        if temperature == 0:
            return LogitsProcessorList()
        seeds = [f"{seed}/{key}" for key in keys]
        return LogitsProcessorList([SeededDraw(seeds, temperature=temperature)])

    def _read(self, tokens: list[int]) -> Rationale | NoRationale:
        inputs = self._checkpoint.inputs
        generated = [token for token in tokens if token != inputs.tokenizer.pad_token_id]
        if not self._checkpoint.gate_is_trained:
            return read_answer(inputs.decode(generated), num_tokens=len(generated))
        return Rationale(*read_rationale(inputs, generated), len(generated))

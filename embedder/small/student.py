"""The small model before its first step: a bag of words that finds texts already.

The rows of word pieces are MiniLM's word embeddings, centred and whitened, which keeps rare names
as far apart as other words. The first layer's attention, seen from the embedding token, weighs a
piece by how rare it is; its values are the rows themselves, and all else adds nothing: the other
layers' residual branches and the first one's MLP end in zeros. So the first vector of a text is the
weighted mean of its rows, and training starts from there.

The last two numbers of a row are no part of what is read: one is the same for all, the other holds
the weight. Keys are made of these two alone. They have length 1 after their norm, so the weight is
laid into their angle: the query asks for the second, and the cosine is the logit.

Shape legend: B = texts, V = pieces of the vocabulary, H = hidden size, C = numbers of a row that
are content
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from embedder.content import Content
from embedder.model.backbone import Backbone
from embedder.model.vision_encoder import ImageFeatures
from embedder.nano.architecture import build_image_processor
from embedder.prompting.answers import direct_answer
from embedder.prompting.inputs import Inputs
from embedder.prompting.prompts import Prompts
from embedder.prompting.sample import Sample
from embedder.small import architecture
from embedder.small.components import components

WORD_EMBEDDINGS = "embeddings.word_embeddings.weight"
CONTENT = architecture.HIDDEN_SIZE - 2
CONSTANT, WEIGHT = CONTENT, CONTENT + 1
"""Places in a row."""

IDF_POWER = 1.5
LEAST_IDF = 0.05
"""Of a piece that is in every text, such as those of the prompt."""

MOST_FREQUENT = "the"
"""The piece from which on a vocabulary of BERT's is ordered by frequency."""

ZIPF = 10
"""The r-th piece is about one in 10 (r + 10) of a text's."""

USUAL_LENGTH = 40
"""Pieces of a text, of which one that is drawn so often is in it."""

ROW_SCALE = 0.1
"""Root mean square of a row's content."""

LENGTH_BATCH = 64
"""Texts that are computed together."""

CONSTANT_SHARE = 0.25
"""Of the content's length, the length of the constant."""


@dataclass(frozen=True, slots=True)
class Student:
    """A small model and how it reads."""

    backbone: Backbone
    inputs: Inputs

    def sample(self, content: Content) -> Sample:
        """Return the prompt of a content with its direct answer, as it is embedded."""
        prompt = self.inputs.sample(content, architecture.INSTRUCTION)
        return prompt.extended(direct_answer(self.inputs))

    def end_vectors(self, prompts: Prompts, images: ImageFeatures | None = None) -> torch.Tensor:
        """Return [B, H] the vectors of prompts with answers; `images` as of `Backbone.prefill`."""
        ends_B1 = torch.tensor(prompts.lengths, device=self.backbone.device)[:, None] - 1
        return self.backbone.vectors(self.backbone.prefill(prompts, ends_B1, images=images))

    def vectors(self, samples: Sequence[Sample]) -> torch.Tensor:
        """Return [B, H] the vectors of samples, L2-normalised, with their graph.

        Those of about one length are computed together, so that little is padded.
        """
        by_length = sorted(range(len(samples)), key=lambda number: len(samples[number]))
        found = []
        for start in range(0, len(by_length), LENGTH_BATCH):
            chosen = [samples[number] for number in by_length[start : start + LENGTH_BATCH]]
            prompts = self.inputs.prompts(chosen, device=self.backbone.device)
            found.append(self.end_vectors(prompts))
        place_B = torch.tensor(by_length).argsort()
        return torch.cat(found)[place_B.to(self.backbone.device)]


def bag_of_words(teacher: Path, texts: Sequence[str], *, seed: int = 0) -> Student:
    """Return the model before its first step, with its first text layer alone; see `grown`.

    Args:
        teacher: folder of MiniLM, or of another BERT with word pieces.
        texts: what the rarity of pieces is counted in, and where the centre of rows is taken.
        seed: of the weights that add nothing yet.
    """
    pieces = architecture.word_pieces(teacher)
    tokenizer = architecture.build_tokenizer(pieces)
    student = untrained(tokenizer, num_layers=1, seed=seed)
    token_ids = [student.sample(Content(text)).tokens for text in texts]
    weights_V = _weights(token_ids, tokenizer)
    _lay_rows(student, token_ids, _teacher_rows(teacher, pieces), weights_V)
    _lay_attention(student.backbone.model.model.language_model)
    return student


def untrained(tokenizer: Any, *, num_layers: int, seed: int) -> Student:
    """Return a model whose text layers add nothing; the seed draws the rest of its weights."""
    model = architecture.build_model(tokenizer, num_layers=num_layers, seed=seed)
    with torch.no_grad():
        for layer in model.model.language_model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
    longest = architecture.MANIFEST.max_text_tokens
    processor = build_image_processor()
    return Student(Backbone(model), Inputs(tokenizer, processor, max_text_tokens=longest))


def grown(student: Student, *, num_layers: int = architecture.NUM_LAYERS, seed: int = 0) -> Student:
    """Return the same function with more text layers, which add nothing yet."""
    taller = untrained(student.inputs.tokenizer, num_layers=num_layers, seed=seed)
    taller.backbone.load_state_dict(student.backbone.state_dict(), strict=False)
    return taller


def _teacher_rows(teacher: Path, pieces: Sequence[str]) -> torch.Tensor:
    """Return [V, C] the teacher's word embeddings, whitened; zeros for control tokens."""
    with safe_open(teacher / "model.safetensors", framework="pt") as file:
        embeddings = file.get_tensor(WORD_EMBEDDINGS).float()
    places = json.loads((teacher / "tokenizer.json").read_text())["model"]["vocab"]
    rows = embeddings[[places[piece] for piece in pieces]]
    control = torch.zeros(len(architecture.SPECIAL_TOKENS), CONTENT)
    return torch.cat([control, components(rows, CONTENT, power=1.0)])


def _weights(token_ids: Sequence[Sequence[int]], tokenizer: Any) -> torch.Tensor:
    """Return [V] how much each piece counts: a power of its inverse document frequency.

    Texts made of glosses lack much of what other texts are full of. So a piece counts no more than
    its place in the vocabulary allows, which BERT ordered by frequency: by Zipf's law.
    """
    num_pieces, num_control = len(tokenizer), len(architecture.SPECIAL_TOKENS)
    counts_V = torch.zeros(num_pieces)
    for one in token_ids:
        counts_V[list(set(one))] += 1
    counted_V = torch.log((len(token_ids) + 1) / (counts_V + 1))
    rank_V = torch.arange(num_pieces) - tokenizer.convert_tokens_to_ids(MOST_FREQUENT)
    chance_V = 1 / (ZIPF * (rank_V.clamp_min(0) + ZIPF))
    known_V = -torch.log1p(-((1 - chance_V) ** USUAL_LENGTH))
    weights_V = torch.minimum(counted_V, known_V).clamp_min(LEAST_IDF) ** IDF_POWER
    weights_V[:num_control] = LEAST_IDF**IDF_POWER
    return weights_V


def _lay_rows(
    student: Student,
    token_ids: Sequence[Sequence[int]],
    rows_VC: torch.Tensor,
    weights_V: torch.Tensor,
) -> None:
    """Centre the rows where texts lie, and write them with their weights into the model."""
    flat = torch.tensor([token for one in token_ids for token in one])
    share = torch.zeros(len(rows_VC)).index_add_(0, flat, weights_V[flat])
    rows_VC = rows_VC - (share / share.sum()) @ rows_VC
    rows_VC[: len(architecture.SPECIAL_TOKENS)] = 0
    length_V1 = rows_VC.norm(dim=1, keepdim=True)
    length_V1[length_V1 == 0] = length_V1.max()
    log_V = (weights_V * length_V1[:, 0]).log()
    largest = architecture.HEAD_DIM**0.5  # logit of a cosine of 1
    cosine_V = (log_V - (log_V.max() + log_V.min()) / 2) / largest
    row_length = ROW_SCALE * CONTENT**0.5
    constant = CONSTANT_SHARE * row_length
    with torch.no_grad():
        row = student.backbone.model.get_input_embeddings().weight
        row[:, :CONTENT] = rows_VC / length_V1 * row_length
        row[:, CONSTANT] = constant
        row[:, WEIGHT] = constant * cosine_V / (1 - cosine_V**2).sqrt()


def _lay_attention(language_model: Any) -> None:
    """Make the first layer's attention the weighted mean of rows."""
    first = language_model.layers[0].self_attn
    # The slowest pair of a head hardly turns: its first half is the last of these places.
    slow, slower = architecture.HEAD_DIM // 2 - 2, architecture.HEAD_DIM // 2 - 1
    with torch.no_grad():
        identity = torch.eye(architecture.HIDDEN_SIZE)
        identity[CONTENT:] = 0
        first.v_proj.weight.copy_(identity)
        first.o_proj.weight.copy_(identity)
        for projection in (first.q_proj, first.k_proj):
            projection.weight.zero_()
        for head in range(architecture.NUM_HEADS):
            start = head * architecture.HEAD_DIM
            first.k_proj.weight[start + slow, WEIGHT] = 1
            first.k_proj.weight[start + slower, CONSTANT] = 1
            first.q_proj.weight[start + slow, CONSTANT] = 1
        language_model.norm.weight[CONTENT:] = 0

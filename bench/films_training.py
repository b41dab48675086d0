"""Fine-tunes nano on films: what they say, what goes with what, and what is liked together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl

from bench.films_data import Films
from bench.films_placement import Placement, PlacementConfig
from bench.films_split import Split
from embedder.content import Content
from embedder.finetune.data.behaviour_targets import (
    behaviour_vectors,
    procrustes_align,
    with_popularity,
)
from embedder.finetune.data.catalogue_pairs import title_image_pairs
from embedder.finetune.data.co_consumption import consecutive_pairs, neighbour_pairs
from embedder.finetune.data.item_similarity import swing
from embedder.finetune.data.pair_rows import read_pairs
from embedder.finetune.data.pairs import Pair
from embedder.finetune.records import TrainingExample
from embedder.finetune.training.config import JointConfig, JointLossConfig
from embedder.finetune.training.image_features import ImageFeatureCache
from embedder.finetune.training.joint import joint_trainer
from embedder.finetune.training.version_folder import write_version
from embedder.finetune.training.vocabulary import with_vocabulary
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from embedder.model.checkpoint import Checkpoint, load

BEHAVIOUR = "behaviour"
INSTRUCTIONS = {BEHAVIOUR: ("what next", "who likes it")}
MAX_GAP = timedelta(days=1)
DIM = 128  # of nano's vectors
SAVE_EVERY = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How nano is fine-tuned."""

    num_steps: int
    """Optimiser steps."""

    learning_rate: float = 2e-3
    """Peak of the schedule."""

    warmup_steps: int = 50
    """Steps over which the rate grows."""

    batch_size: int = 16
    """Pairs of contents a step."""

    num_placed: int = 128
    """Films a step that are taught where behaviour puts them."""

    popularity_share: float = 0.75
    """How much of the most popular film's behaviour vector says that it is popular."""

    num_tokens: int = 2000
    """New tokens of the vocabulary, learnt from the films' texts."""

    max_text_tokens: int = 40
    """A film's text is cut after so many."""

    seed: int = 0
    """Order of pairs, films that are drawn, solver of the behaviour vectors."""

    @property
    def source_weights(self) -> dict[str, float]:
        """How often each source of pairs fills a batch."""
        return {"co_consumption": 2.0, "consecutive": 2.0, "title_image": 1.0}


def fine_tuned(films: Films, split: Split, folder: Path, recipe: Recipe) -> Path:
    """The version folder of nano after the recipe; goes on where a killed call was.

    Nothing of `split` is read but its `likes` and `at`, and no film that is not among them, so a
    film without a like before `at` is new to the model in every respect.
    """
    version = folder / "nano-films"
    if (version / "manifest.json").exists():
        return version
    contents = _known_contents(films, split)
    start = _start(contents, recipe)
    trainer = joint_trainer(
        start,
        [TrainingExample(pair) for pair in training_pairs(films, split)],
        JointConfig(
            num_steps=recipe.num_steps,
            batch_size=recipe.batch_size,
            learning_rate=recipe.learning_rate,
            warmup_steps=recipe.warmup_steps,
            source_weights=recipe.source_weights,
            loss=JointLossConfig(gate=0.1, gate_confidence=1.0, false_negative_margin=None),
            swap_roles=True,
            train_vision_encoder=False,
            seed=recipe.seed,
        ),
        item_objectives=[_placement(split, contents, start, recipe)],
        image_features=ImageFeatureCache(start.backbone, start.inputs),
    )
    backbone = trainer.train(folder, save_every=SAVE_EVERY)
    write_version(backbone, start, version, manifest=start.manifest)
    return version


def vectors(
    checkpoint: Checkpoint, contents: Sequence[Content], *, source: str = "", as_query: bool = False
) -> np.ndarray:
    """[N, D] direct vectors of contents as items, or as queries, in the space of a source."""
    read = replace(checkpoint, manifest=checkpoint.manifest.for_source(source))
    embedder = MMEmbR1(read, EmbedderConfig(policy="never"))
    encode = embedder.encode_query if as_query else embedder.encode_items
    return np.stack([encoding.vector for encoding in encode(contents)])


def taught(films: Films, split: Split, recipe: Recipe) -> np.ndarray:
    """[N, D] where behaviour puts the films: 0 where it knows nothing of a film.

    The behaviour space can at best come to be like this for the films that were learnt from.
    """
    behaviour = _behaviour_vectors(split, recipe)
    row_of = films.row_of
    vector_ND = np.zeros((len(films.item_ids), DIM))
    vector_ND[[row_of[item] for item in behaviour["item_id"]]] = behaviour["vector"].to_list()
    return vector_ND


def _behaviour_vectors(split: Split, recipe: Recipe) -> pl.DataFrame:
    likes, at = split.likes, split.at
    vectors = behaviour_vectors(likes, before=at, dim=DIM - 1, seed=recipe.seed)
    return with_popularity(vectors, likes, before=at, share=recipe.popularity_share)


def _start(contents: dict[str, Content], recipe: Recipe) -> Checkpoint:
    """A nano with words of films, which reads as the manifest of the new version says."""
    texts = [content.text for content in contents.values()]
    start = with_vocabulary(load("nano"), texts, num_tokens=recipe.num_tokens)
    start.inputs.max_text_tokens = recipe.max_text_tokens
    manifest = replace(
        start.manifest,
        name="nano-films",
        instructions=INSTRUCTIONS,
        max_text_tokens=recipe.max_text_tokens,
    )
    return replace(start, manifest=manifest)


def training_pairs(films: Films, split: Split) -> list[Pair]:
    """What asks for what: titles for posters, films for those liked next or by the same users."""
    contents = _known_contents(films, split)
    catalogue = pl.DataFrame(
        {
            "item_id": films.item_ids,
            "title": films.titles,
            "image_hash": [None if c.image is None else "kept elsewhere" for c in films.contents],
            "deleted": False,
        }
    ).filter(pl.col("item_id").is_in(list(contents)))
    rows = [
        title_image_pairs(catalogue),
        consecutive_pairs(split.likes, before=split.at, max_gap=MAX_GAP),
        neighbour_pairs(split.likes, swing, before=split.at),
    ]
    return read_pairs(pl.concat(rows), contents).pairs


def _known_contents(films: Films, split: Split) -> dict[str, Content]:
    liked = set(split.likes["item_id"])
    found = zip(films.item_ids, films.contents, strict=True)
    return {item: content for item, content in found if item in liked}


def _placement(
    split: Split, contents: dict[str, Content], start: Checkpoint, recipe: Recipe
) -> Placement:
    behaviour = _behaviour_vectors(split, recipe)
    item_ids = behaviour["item_id"].to_list()
    before_ID = vectors(start, [contents[item] for item in item_ids], source=BEHAVIOUR)
    given_ID = np.array(behaviour["vector"].to_list(), dtype=np.float32)
    place_ID = procrustes_align(given_ID, before_ID)
    turn_DD, *_ = np.linalg.lstsq(given_ID, place_ID)
    behaviour_ID = given_ID[:, :-1] @ turn_DD[:-1]  # the last number is popularity
    behaviour_ID /= np.linalg.norm(behaviour_ID, axis=1, keepdims=True)
    num_users = split.likes.group_by("item_id").agg(pl.col("user_id").n_unique())
    return Placement(
        contents,
        dict(zip(item_ids, place_ID, strict=True)),
        dict(zip(item_ids, behaviour_ID, strict=True)),
        dict(num_users.iter_rows()),
        PlacementConfig(source=BEHAVIOUR, batch_size=recipe.num_placed, seed=recipe.seed),
    )

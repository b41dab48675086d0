"""The stages over frozen encoders: their features, each computed once, and the heads over them.

`features/` holds the rows of texts and images; a killed stage goes on after the last ones written.
"""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ponder.finetuning.results import ComputedFeatures, FinishedTraining
from ponder.finetuning.run import Progress, Run

if TYPE_CHECKING:
    from embedder.content import Side
    from embedder.finetune.heads.objective import PairFeatures
    from embedder.pair.frozen import FrozenEncoders


def compute_features(run: Run, progress: Progress) -> ComputedFeatures:
    """Compute what the frozen encoders make of each text and image of the pairs: stage `features`.

    A base that is one model has none.
    """
    if run.config.heads is None:
        return ComputedFeatures()
    features = _features(run, _open_encoders(run), progress)
    return ComputedFeatures(
        texts=len(features.texts["query"].row_of), images=len(features.images.row_of)
    )


def train_heads(run: Run, progress: Progress) -> FinishedTraining:
    """Train heads over features that are there: stage `joint` where the base is frozen."""
    from embedder.finetune.heads.objective import heads_trainer, trained_dims
    from embedder.pair.encoder import load_heads, write_pair
    from embedder.version import Manifest
    from ponder.reports.training.curves import write_training_curves

    config, folder, base = run.config, run.folder / "joint", Path(run.given_base)
    assert config.heads is not None
    if not run.is_first:  # a minute of one process; the others wait
        return FinishedTraining(steps=0)
    encoders = _open_encoders(run)
    trainer = heads_trainer(
        run.pairs,
        _features(run, encoders, lambda done: None),
        config.joint,
        config.heads,
        start=load_heads(base) if base.is_dir() else None,
    )
    heads = trainer.train(folder, save_every=trainer.save_every, stage="joint", progress=progress)
    dims = trained_dims(config.heads, heads.dim)
    manifest = Manifest(name=config.name, dims=dims, theta=1.0)
    write_pair(run.version("joint"), encoders, heads, manifest=manifest)
    write_training_curves(folder / "log.jsonl", folder / "curves.svg")
    return FinishedTraining(steps=trainer.num_steps, examples=len(run.pairs))


def num_steps(run: Run) -> int:
    """Return how long the training of the heads will take, by the pairs that are there."""
    from embedder.finetune.heads.objective import num_steps as planned

    assert run.config.heads is not None
    return planned(run.pairs, run.config.joint, run.config.heads)


def _open_encoders(run: Run) -> "FrozenEncoders":
    from embedder.pair.frozen import FrozenEncoders

    models = run.frozen_models
    assert models is not None, "a run with heads has frozen encoders"
    return FrozenEncoders.open(*models, device=run.settings.device)


def _features(run: Run, encoders: "FrozenEncoders", progress: Progress) -> "PairFeatures":
    """Return the features of all contents of the pairs, after computing those that lack."""
    from embedder.finetune.heads.feature_table import FeatureTable
    from embedder.finetune.heads.objective import PairFeatures, image_key

    contents = [content for pair in run.pairs for content in (pair.query, pair.target)]
    texts = sorted({content.text for content in contents if content.text})
    images = {image_key(one): one.image for one in contents if one.image is not None}
    folder = run.folder / "features"

    def texts_as(side: "Side") -> FeatureTable:
        encode = partial(encoders.text_features, side=side)
        path = folder / f"texts-{side}.npy"
        return FeatureTable.filled(path, texts, encoders.text.dim, encode, progress=progress)

    read_as_query = texts_as("query")
    return PairFeatures(
        {
            "query": read_as_query,
            "item": read_as_query if encoders.text.reads_sides_alike else texts_as("item"),
        },
        FeatureTable.filled(
            folder / "images.npy",
            sorted(images),
            encoders.image.num_features,
            lambda keys: encoders.image_features([images[key] for key in keys]),
            progress=progress,
        ),
    )

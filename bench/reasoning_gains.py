"""Does what the judge calls a gain move the rank? Asked of a trained model, on test questions.

The judge is the base model, as in the selection; the ranks are those that the trained model gives
when it reads the same rationale. Neither the questions nor the rationales were trained on.

Shape legend: O = paired rationales, N = candidates, D = embedding dimension
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bench.reasoning_outcomes import first_ranks
from bench.reasoning_world import World
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from embedder.model.checkpoint import Checkpoint
from embedder.reasoners.given_rationales import encode_with_rationales
from embedder.reasoners.reasoner import Rationale
from ponder.nano.riddle_pairs import Asked


def gains(
    checkpoint: Checkpoint, world: World, asked: Mapping[str, Asked], folder: Path
) -> list[dict[str, Any]]:
    """Return of every judged rationale: tier, gain (nats), kept, rank_direct and rank_given.

    Args:
        checkpoint: trained; ranks the candidates.
        world: has the candidates.
        asked: its questions, by pair_id.
        folder: of the run that judged rationales about them.
    """
    selected = pl.read_parquet(folder / "selection" / "selected.parquet")
    judged = selected.filter(pl.col("gain").is_not_null())
    encoder = MMEmbR1(
        checkpoint, EmbedderConfig(policy="never", device=str(checkpoint.backbone.device))
    )
    items_ND = np.stack([one.vector for one in encoder.encode_items(world.items)])
    riddles = [asked[pair_id] for pair_id in judged["pair_id"]]
    contents = [riddle.pair.query for riddle in riddles]
    told = zip(judged["text"], judged["summary"], strict=True)
    given_OD = encode_with_rationales(
        checkpoint,
        contents,
        [Rationale(text, summary) for text, summary in told],
        side="query",
    )
    direct_OD = np.stack([one.vector for one in encoder.encode_query(contents)])
    fits_ON = np.array([[r.fits(product) for product in world.products] for r in riddles])
    return (
        judged.select("gain", "kept")
        .with_columns(
            tier=pl.Series([riddle.question and riddle.question.tier for riddle in riddles]),
            rank_direct=first_ranks(direct_OD @ items_ND.T, fits_ON),
            rank_given=first_ranks(given_OD @ items_ND.T, fits_ON),
        )
        .to_dicts()
    )

"""Whether an embedder knows what images are called, without being trained on them.

    python -m bench.image_names --data FOLDER --model MODEL

`--data` is `noto_emoji`, of whose test split `small` has seen nothing, a folder that `ponder emoji`
wrote, which has the same split, or `fashion_products`. Each
name asks for its images among all of the split, and each image for its name; of equal scores the
middle rank counts, as in `bench.fashion`.

Shape legend: N = images
"""

import argparse
import json
from pathlib import Path

import numpy as np
import polars as pl

from bench.fashion import recalls
from embedder.content import CatalogueEncoder, Content
from embedder.mmemb_r1 import EmbedderConfig
from ponder.wiring.encoder import open_model


def named_images(folder: Path, split: str) -> tuple[list[str], list[bytes]]:
    """Return the names of a split, titles of products or names of emoji, and their images."""
    items = pl.read_parquet(folder / "items.parquet").filter(pl.col("split") == split)
    if "image" not in items.columns:
        items = items.join(pl.read_parquet(folder / "images.parquet"), on="item_id")
    rows = items.sort("item_id")
    return rows["title" if "title" in rows.columns else "name"].to_list(), rows["image"].to_list()


def measured(encoder: CatalogueEncoder, names: list[str], images: list[bytes]) -> dict:
    """Return recalls in both directions."""
    name_ND, image_ND = (
        np.stack([one.vector for one in encoder.encode_items(contents)])
        for contents in ([Content(name) for name in names], [Content(image=i) for i in images])
    )
    is_right_NN = np.array(names)[:, None] == np.array(names)
    score_NN = name_ND @ image_ND.T
    return {
        "text_to_image": recalls(score_NN, is_right_NN),
        "image_to_text": recalls(score_NN.T, is_right_NN),
    }


def main() -> None:
    """Measure a model and print what it finds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="noto_emoji or fashion_products")
    parser.add_argument("--model", default="small", help="an embedder that reads images")
    parser.add_argument("--split", default="test", help="of the data set")
    options = parser.parse_args()
    names, images = named_images(options.data, options.split)
    encoder = open_model(EmbedderConfig(model=options.model, policy="never"))
    found = measured(encoder, names, images)
    print(json.dumps({"model": options.model, "candidates": len(names), **found}))


if __name__ == "__main__":
    main()

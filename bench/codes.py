"""What codes lose, how evenly they are given out, and what features of them are worth.

    OMP_NUM_THREADS=1 python -m bench.codes quality HOME [--model MODEL] [--codes 256]
    OMP_NUM_THREADS=1 python -m bench.codes films HOME [--model MODEL] [--codes 64]

`quality` learns codes by both learners from four fifths of the vectors that a deployment has
embedded, and measures what the others lose. `films` asks `ponder ranker experiment` of a log of
ratings with features of codes and without. In bazaars that is `python -m bench.worlds --variant
context,collaborative,match,feedback --variant context,collaborative,match,feedback,codes`.

Nothing is written to the deployment but codebooks, codes and the report of the experiment.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from catalog.lake.living_embeddings import embeddings_of
from embedder.codes.config import CodesConfig, LearnerName
from embedder.codes.learning import learned
from embedder.codes.quality import code_use, reconstruction
from ponder.json_form import json_form
from ponder.settings import Settings
from ponder.steps.codes import learn_codes
from ponder.steps.experiment import experiment
from ponder.wiring.codes import matrix
from ponder.wiring.encoder import configured_version
from ponder.wiring.stores import open_lake

HELD_OUT = 0.2
LEARNERS: tuple[LearnerName, ...] = ("kmeans", "vae")
BASE = "context,collaborative,match,feedback"


def quality(settings: Settings, config: CodesConfig) -> dict[str, Any]:
    """Return what each learner's codes lose of vectors that they were not learned from.

    Use and collisions are counted over all vectors.
    """
    version = configured_version(settings)
    embedded = embeddings_of(open_lake(settings), version).sort("item_id", "content_hash").collect()
    vectors_ND = matrix(embedded["vector"])
    order_N = np.random.default_rng(config.seed).permutation(len(vectors_ND))
    num_out = int(HELD_OUT * len(vectors_ND))
    found: dict[str, Any] = {"version": version, "vectors": vectors_ND.shape}
    for name in LEARNERS:
        own, began = replace(config, learner=name), time.perf_counter()
        codebooks = learned(vectors_ND[order_N[num_out:]], own, model_version=version)
        seconds = time.perf_counter() - began
        codes_NL = codebooks.assign(vectors_ND)
        duplicates = len(vectors_ND) - len(np.unique(vectors_ND, axis=0))
        found[name] = {
            "seconds": round(seconds, 1),
            "lost": reconstruction(codebooks, vectors_ND[order_N[:num_out]], held_out=True),
            "use": code_use(codes_NL, num_codes=config.num_codes),
            "exact_duplicates": duplicates,
        }
    return found


def films(settings: Settings, config: CodesConfig, *, num_seeds: int) -> dict[str, Any]:
    """Return what an experiment on a log of ratings says of features of codes."""
    learn_codes(settings, config)
    report = experiment(settings, variants=[BASE, f"{BASE},codes"], num_seeds=num_seeds)
    return dict(json_form(report))


def main() -> None:
    """Measure, and print what was found as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["quality", "films"])
    parser.add_argument("home", type=Path, help="home of a deployment that has embedded its items")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--levels", type=int, default=3)
    parser.add_argument("--codes", type=int, default=256)
    parser.add_argument("--steps", type=int, default=CodesConfig().steps, help="of the RQ-VAE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=3, help="rankers of each variant")
    args = parser.parse_args()
    settings = Settings(home=args.home, model=args.model)
    config = CodesConfig(
        num_levels=args.levels, num_codes=args.codes, steps=args.steps, seed=args.seed
    )
    if args.what == "quality":
        found = quality(settings, config)
    else:
        found = films(settings, config, num_seeds=args.seeds)
    print(json.dumps(json_form(found)))


if __name__ == "__main__":
    main()

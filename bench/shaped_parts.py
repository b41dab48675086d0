"""What each part of the GPU engine is worth: items a second with all of them, and without each.

    python bench/shaped_parts.py --shape qwen3-vl-2b --device cuda

Weights are random and made on the device. Contents are encoded twice with each part left out, and
the second time counts. On a CPU most parts are out in any case.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from engine_parts import PARTS_OF, without
from random_model import TINY, random_checkpoint
from shaped_catalogue import shaped_catalogue
from shaped_reason import MAX_NEW_TOKENS

from embedder.content import Content
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from embedder.model.checkpoint import Checkpoint
from embedder.precision import dtype_on


def rates(
    checkpoint: Checkpoint, contents: list[Content], config: EmbedderConfig
) -> dict[str, float]:
    """Return items a second by what is left out."""
    found = {}
    for part in (None, *PARTS_OF[config.policy]):
        with without(part):
            model = MMEmbR1(checkpoint, config)
            model.encode_items(contents)  # whatever is chosen or recorded for a shape, is by now
            began = time.perf_counter()
            model.encode_items(contents)
            seconds = time.perf_counter() - began
        found["all" if part is None else f"without_{part}"] = round(len(contents) / seconds, 2)
    return found


def main() -> None:
    """Measure as the command line says, and print it."""
    parser = argparse.ArgumentParser(description="Measure what parts of the engine are worth.")
    parser.add_argument("--shape", default="qwen3-vl-2b", help="of the random weights")
    parser.add_argument("--device", default="cuda", help="of the model")
    parser.add_argument("--items", type=int, default=768, help="to encode directly")
    parser.add_argument("--reasoned", type=int, default=256, help="of them to reason about")
    options = parser.parse_args()
    contents = shaped_catalogue(options.items, seed=0, enlarged=options.shape != TINY)
    given = {"never": contents, "always": contents[: options.reasoned]}
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = random_checkpoint(
            options.shape,
            Path(folder),
            device=options.device,
            dtype=dtype_on(options.device),
            max_new_tokens=MAX_NEW_TOKENS.get(options.shape, 128),
        )
        found = {
            policy: rates(
                checkpoint, given[policy], EmbedderConfig(device=options.device, policy=policy)
            )
            for policy in PARTS_OF
        }
    print(json.dumps({"unit": "items/s", "direct": found["never"], "reasoned": found["always"]}))


if __name__ == "__main__":
    main()

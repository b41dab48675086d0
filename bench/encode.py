"""Direct encoding against sentence-transformers, and its share of the matrix-product rate.

    python bench/encode.py                # same nano weights, same mixed catalogue
    python bench/encode.py --text-only    # 6 layers x 384, random weights: share of the GEMM rate
    python bench/encode.py --shape qwen3-vl-2b --device cuda  # random weights: shaped_encode.py
    python bench/encode.py --dirty        # 1 % each of corrupt and 1x1 images, 10 MB and no text

The rival is sentence-transformers 6.2 (`pip install sentence-transformers`) at its best of four
batch sizes, on the same inputs; the vectors must agree to 1e-5 before a time is reported. Rounds
alternate; the best of each side counts. `cpu_ratio` compares processor seconds instead of seconds,
which another job on the machine disturbs less. Set OMP_NUM_THREADS to choose the threads.
"""

import argparse
import io
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mixed_catalogue import mixed_catalogue
from PIL import Image
from shaped_encode import direct
from stopwatch import Stopwatch
from transformers import Qwen3VLForConditionalGeneration

from embedder.content import Content, Failure
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from embedder.model.backbone import Backbone
from embedder.model.checkpoint import Checkpoint, load

DIRECT = EmbedderConfig(policy="never")
MIDSIZE = {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 6}
HEADS = {"num_attention_heads": 6, "num_key_value_heads": 6, "head_dim": 64}


def vectors(model: MMEmbR1, contents: list[Content]) -> np.ndarray:
    """Return [N, D] direct vectors."""
    return np.stack([encoding.vector for encoding in model.encode_items(contents)])


def against_sentence_transformers(num_items: int, rounds: int) -> dict[str, object]:
    """Return items/s of both on the mixed catalogue."""
    from sentence_rival import sentence_nano

    contents = mixed_catalogue(num_items, seed=0)
    ours, watch = MMEmbR1.open(DIRECT), Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        rival = sentence_nano(Path(folder))

    def rival_encodes(batch_size: int) -> np.ndarray:
        # Opening the images counts for both: they come as files.
        inputs = [
            {"text": content.text}
            | ({"image": Image.open(io.BytesIO(content.image))} if content.image else {})
            for content in contents
        ]
        return rival.encode(inputs, batch_size=batch_size, show_progress_bar=False)

    for _ in range(rounds):
        for size in (8, 16, 32, 64):  # ours before each, or the rival's best were of more tries
            found = watch.time("ours", lambda: vectors(ours, contents))
            theirs = watch.time(f"batch {size}", lambda size=size: rival_encodes(size))
            np.testing.assert_allclose(found, theirs, atol=1e-5)
    batches = [name for name in watch.wall if name != "ours"]
    best, best_cpu = (min(batches, key=seconds.get) for seconds in (watch.wall, watch.cpu))
    return {
        "unit": "items/s",
        "ours": round(num_items / watch.wall["ours"]),
        "rival": round(num_items / watch.wall[best]),
        "ratio": round(watch.wall[best] / watch.wall["ours"], 2),
        "cpu_ratio": round(watch.cpu[best_cpu] / watch.cpu["ours"], 2),
        "rival_settings": best,
        "limit": None,
    }


def midsize_model() -> MMEmbR1:
    """Return nano's tokenizer and prompts around random weights of 6 layers x 384."""
    nano = load("nano")
    config = nano.backbone.model.config
    config.text_config.update(MIDSIZE | HEADS)
    config.text_config.rope_parameters["mrope_section"] = [16, 8, 8]
    config.vision_config.update({"out_hidden_size": MIDSIZE["hidden_size"]})
    torch.manual_seed(0)
    model = Qwen3VLForConditionalGeneration(config).eval().requires_grad_(False)
    return MMEmbR1(
        Checkpoint(nano.folder, nano.manifest, Backbone(model), nano.inputs, True), DIRECT
    )


def multiplied(model: MMEmbR1, contents: list[Content]) -> int:
    """Return floating-point operations of the layers' matrix products, for real tokens alone.

    Padding, attention and norms do not count; of the last layer, only keys and values do for all
    tokens, for the rest is computed for the two that are read.
    """
    checkpoint = model._checkpoint
    instruction = checkpoint.manifest.item_instruction
    tokens = [len(checkpoint.inputs.sample(c, instruction)) + 2 for c in contents]
    layers = checkpoint.backbone.model.model.language_model.layers
    weights = [p.numel() for layer in layers for p in layer.parameters() if p.ndim == 2]
    per_layer = sum(weights) // len(layers)
    attention = layers[-1].self_attn
    kv = attention.k_proj.weight.numel() + attention.v_proj.weight.numel()
    everywhere = per_layer * (len(layers) - 1) + kv
    return 2 * sum(everywhere * length + (per_layer - kv) * 2 for length in tokens)


def gemm(side: int) -> None:
    """Return one product of two square float32 matrices."""
    F.linear(torch.ones(side, side), torch.ones(side, side))


def share_of_gemm(num_items: int, rounds: int) -> dict[str, object]:
    """Return the mid-size text model's operations/s, against a large matrix product's."""
    contents = [Content(c.text) for c in mixed_catalogue(num_items, seed=0)]
    model, watch, side = midsize_model(), Stopwatch(), 1536
    for _ in range(rounds):
        watch.time("ours", lambda: vectors(model, contents))
        for _ in range(5):
            watch.time("gemm", lambda: gemm(side))
    ours = multiplied(model, contents) / watch.wall["ours"] / 1e9
    limit = 2 * side**3 / watch.wall["gemm"] / 1e9
    return {
        "unit": "GFLOP/s",
        "ours": round(ours, 1),
        "rival": None,
        "ratio": round(ours / limit, 3),
        "limit": round(limit, 1),
        "items_per_s": round(num_items / watch.wall["ours"], 1),
    }


def dirtied(contents: list[Content]) -> tuple[list[Content], set[int]]:
    """Return the catalogue with 1 % of each kind of dirt, and the rows that cannot be embedded."""
    white = io.BytesIO()
    Image.new("RGB", (1, 1), "white").save(white, "PNG")
    image = next(content.image for content in contents if content.image)
    dirty, corrupt = list(contents), set()
    for row in range(0, len(contents), 100):
        dirty[row] = Content("a mug", image[: len(image) // 2])
        dirty[row + 25] = Content("a mug", white.getvalue())
        dirty[row + 50] = Content("mug " * 2_500_000)
        dirty[row + 75] = Content("")
        corrupt.add(row)
    return dirty, corrupt


def dirty_against_clean(num_items: int, rounds: int) -> dict[str, object]:
    """Return items/s with dirt in the catalogue, against the clean one."""
    clean = mixed_catalogue(num_items, seed=0)
    dirty, corrupt = dirtied(clean)
    model, watch = MMEmbR1.open(DIRECT), Stopwatch()
    for _ in range(rounds):
        expected = watch.time("clean", lambda: dict(model.stream_items(clean)))
        answers = watch.time("dirty", lambda: dict(model.stream_items(dirty)))
        assert {row for row, a in answers.items() if isinstance(a, Failure)} == corrupt
        for row, content in enumerate(dirty):
            if content is clean[row]:
                np.testing.assert_allclose(answers[row].vector, expected[row].vector, atol=1e-5)
    return {
        "unit": "items/s",
        "ours": round(num_items / watch.wall["dirty"]),
        "rival": round(num_items / watch.wall["clean"]),
        "ratio": round(watch.wall["clean"] / watch.wall["dirty"], 2),
        "cpu_ratio": round(watch.cpu["clean"] / watch.cpu["dirty"], 2),
        "limit": None,
    }


def main() -> None:
    """Measure as the command line says, and print it."""
    parser = argparse.ArgumentParser(description="Measure direct encoding.")
    parser.add_argument("--items", type=int, default=400, help="items of the catalogue")
    parser.add_argument("--rounds", type=int, default=5, help="alternations; the best counts")
    parser.add_argument("--text-only", action="store_true", help="share of the GEMM rate")
    parser.add_argument("--dirty", action="store_true", help="with bad items among the good")
    parser.add_argument("--shape", help="a published model's, with random weights")
    parser.add_argument("--device", default="cpu", help="of the shape")
    options = parser.parse_args()
    if options.shape:
        print(json.dumps(direct(options.shape, options.device, options.items, options.rounds)))
        return
    measure = against_sentence_transformers
    if options.text_only:
        measure = share_of_gemm
    elif options.dirty:
        measure = dirty_against_clean
    result = measure(options.items, options.rounds)
    result |= {"threads": torch.get_num_threads(), "load": round(os.getloadavg()[0], 1)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()

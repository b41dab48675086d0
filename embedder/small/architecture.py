"""The small model: Qwen3-VL's own classes, 13 million parameters, most of them word pieces.

Text: hidden size 256, two layers, the word pieces of BERT in lower case. Vision: six layers of
width 192 on 16-pixel patches; a 128 x 128 image becomes 16 tokens.
"""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

from embedder.prompting import template
from embedder.version import Manifest

PAD, UNKNOWN = "<|endoftext|>", "[UNK]"
SPECIAL_TOKENS = (
    *(PAD, template.TURN_START, template.TURN_END),
    *(template.IMAGE_START, template.IMAGE_END, template.IMAGE_PAD, "<|video_pad|>"),
    *template.PONDER_TOKENS,
)
INSTRUCTION = "describe the item"
"""One for queries and items, so that a text has one vector whichever side it stands on."""

MANIFEST = Manifest(
    name="small",
    query_instruction=INSTRUCTION,
    item_instruction=INSTRUCTION,
    dims=(64, 128, 256),
    theta=0.51,  # its gate says 1/2 to everything, so it never reasons until it is trained to
    max_text_tokens=256,
    max_image_tokens=16,
    max_new_tokens=96,
)
HIDDEN_SIZE, NUM_LAYERS, NUM_HEADS, HEAD_DIM = 256, 2, 4, 64


def word_pieces(folder: Path) -> list[str]:
    """Return the vocabulary of a BERT tokenizer in its order, without what only BERT needs.

    Args:
        folder: holds its `tokenizer.json`.

    Raises:
        ValueError: it is no tokenizer of word pieces.
    """
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    if model.get("type") != "WordPiece":
        raise ValueError(
            f"{folder / 'tokenizer.json'} must have word pieces, as MiniLM's has, got "
            f"{model.get('type')!r}"
        )
    ordered = sorted(model["vocab"], key=model["vocab"].__getitem__)
    return [piece for piece in ordered if piece == UNKNOWN or not _is_marker(piece)]


def _is_marker(piece: str) -> bool:
    """Return whether a piece is a marker of BERT's, such as `[CLS]` and `[unused7]`."""
    return len(piece) > 2 and piece[0] == "[" and piece[-1] == "]"


def build_tokenizer(pieces: list[str]) -> Any:
    """Build a fast tokenizer of word pieces in lower case, control tokens before them."""
    vocabulary = {piece: number for number, piece in enumerate((*SPECIAL_TOKENS, *pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=template.TURN_END,
        pad_token=PAD,
        unk_token=UNKNOWN,
        additional_special_tokens=[token for token in SPECIAL_TOKENS if token != PAD],
    )


def build_model(tokenizer: Any, *, num_layers: int, seed: int) -> Qwen3VLForConditionalGeneration:
    """Build the untrained model with so many text layers, its weights drawn with the seed."""
    token = tokenizer.convert_tokens_to_ids
    config = Qwen3VLConfig(
        image_token_id=token(template.IMAGE_PAD),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token(template.IMAGE_START),
        vision_end_token_id=token(template.IMAGE_END),
        tie_word_embeddings=True,
        text_config=_text_config(tokenizer, num_layers),
        vision_config={
            "depth": 6,
            "hidden_size": 192,
            "intermediate_size": 576,
            "num_heads": 3,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "out_hidden_size": HIDDEN_SIZE,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [2],
        },
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Qwen3VLForConditionalGeneration(config)


def _text_config(tokenizer: Any, num_layers: int) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": HIDDEN_SIZE,
        "intermediate_size": 512,
        "num_hidden_layers": num_layers,
        "num_attention_heads": NUM_HEADS,
        "num_key_value_heads": NUM_HEADS,
        "head_dim": HEAD_DIM,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": None,
        "rope_parameters": {
            "rope_type": "default",
            # So slow that a pair of numbers at the end of a head says the same wherever it stands.
            "rope_theta": 1_000_000.0,
            "mrope_section": [16, 8, 8],
            "mrope_interleaved": True,
        },
    }

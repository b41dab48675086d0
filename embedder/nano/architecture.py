"""The nano model: Qwen3-VL's own classes, small enough for a laptop.

Hidden size 128, four text layers, three vision layers on 16-pixel patches: about 2.4 million
parameters. A 96 x 96 image becomes 9 tokens.
"""

import random
from collections.abc import Iterator
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2VLImageProcessorPil,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

from catalog.bazaar import questions, wording
from catalog.bazaar.world import BRANDS, CATEGORIES, random_product
from embedder.prompting import template

VOCABULARY_SIZE = 1536
PAD = "<|endoftext|>"
SPECIAL_TOKENS = (
    *(PAD, template.TURN_START, template.TURN_END),
    *(template.IMAGE_START, template.IMAGE_END, template.IMAGE_PAD, "<|video_pad|>"),
    *template.PONDER_TOKENS,
)
QUERY_INSTRUCTION = "find the item"
ITEM_INSTRUCTION = "describe the item"


def corpus(num_texts: int, seed: int) -> Iterator[str]:
    """Yield texts of the kinds that the tokenizer will meet in the bazaar."""
    rng = random.Random(seed)
    yield template.prompt(f"{QUERY_INSTRUCTION} {ITEM_INSTRUCTION}", " ".join(CATEGORIES))
    yield " ".join(brand.lower() for brand in BRANDS)
    for i in range(num_texts):
        product = random_product(rng)
        question = questions.ask(product, questions.TIERS[i % 3], rng)
        yield f"{question.text} {question.rationale}. the label says {product.brand.lower()}"
        yield question.summary
        yield wording.title(product, rng)
        yield wording.description(product, rng)


def build_tokenizer(seed: int) -> Any:
    """Train a byte-level BPE tokenizer on the bazaar's texts; any other text falls to bytes."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(corpus(4_000, seed), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=template.TURN_END,
        pad_token=PAD,
        additional_special_tokens=[token for token in SPECIAL_TOKENS if token != PAD],
    )


def build_image_processor() -> Any:
    """Build a Pillow-backed processor: an image keeps its ratio and gets 4 to 16 tokens."""
    return Qwen2VLImageProcessorPil(
        patch_size=16,
        merge_size=2,
        size={"shortest_edge": 64 * 64, "longest_edge": 128 * 128},
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )


def build_model(tokenizer: Any, seed: int) -> Qwen3VLForConditionalGeneration:
    """Build the untrained model, its weights drawn with the seed."""
    token = tokenizer.convert_tokens_to_ids
    config = Qwen3VLConfig(
        image_token_id=token(template.IMAGE_PAD),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token(template.IMAGE_START),
        vision_end_token_id=token(template.IMAGE_END),
        tie_word_embeddings=True,
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 128,
            "intermediate_size": 384,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 32,
            "max_position_embeddings": 2048,
            "tie_word_embeddings": True,
            "pad_token_id": tokenizer.pad_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "bos_token_id": None,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000.0,
                "mrope_section": [8, 4, 4],
                "mrope_interleaved": True,
            },
        },
        vision_config={
            "depth": 3,
            "hidden_size": 128,
            "intermediate_size": 384,
            "num_heads": 4,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "out_hidden_size": 128,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [1],
        },
    )
    torch.manual_seed(seed)
    return Qwen3VLForConditionalGeneration(config)

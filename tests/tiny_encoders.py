"""Tiny encoders with random weights, in the forms that real ones have."""

import json

import torch
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import BertConfig, BertModel, BertTokenizerFast

from embedder.pair.efficientnet import EfficientNetLite0
from embedder.pair.image_encoder import LITE0_CONFIG, LITE0_PROCESSOR

WORDS = ("red", "blue", "mugs", "kites", "boats", "find", "describe", ":", "3", "[UNK]")
PROMPTS = {"query": "find: ", "document": "describe: "}


def write_text_model(folder, prompts=PROMPTS):
    """A BERT of two layers as a sentence-transformers folder, and the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"))
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        initializer_range=0.5,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder / "bert")
    tokenizer.save_pretrained(folder / "bert")
    modules = [Transformer(str(folder / "bert")), Pooling(32), Normalize()]
    model = SentenceTransformer(modules=modules, prompts=dict(prompts), device="cpu")
    model.save(str(folder / "saved"), create_model_card=False)
    return folder / "saved"


def write_lite0(folder):
    """EfficientNet-Lite0 that reads images of 32 pixels, and its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_file(EfficientNetLite0().state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(LITE0_CONFIG))
    (folder / "preprocessor_config.json").write_text(json.dumps(LITE0_PROCESSOR | {"size": 32}))
    return folder

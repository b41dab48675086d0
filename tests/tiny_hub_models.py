"""Models of the hub with random weights: their classes, files and modules, at a size for tests.

What is written follows the architecture that sentence-transformers prints for each of them.
"""

import json
import shutil

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoTokenizer,
    Gemma3TextConfig,
    Gemma3TextModel,
    PreTrainedTokenizerFast,
    Qwen3_5Config,
    Qwen3_5Model,
    Qwen3VLConfig,
    Qwen3VLModel,
)

from embedder.version import SHIPPED

BASE = "sentence_transformers.base.modules"
OWN = "sentence_transformers.sentence_transformer.modules"
STATES = {"method": "forward", "method_output_name": "last_hidden_state"}

CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\\n' -}}
{%- for part in message.content -%}
{%- if part.type == 'image' -%}{{- '<|vision_start|><|image_pad|><|vision_end|>' -}}
{%- else -%}{{- part.text -}}{%- endif -%}
{%- endfor -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""
"""What Qwen3-VL's own template makes of messages without tools and video."""

INSTRUCTION = "Represent the user's input."


def write_json(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))


def write_modules(folder, *types):
    paths = [
        "",
        *(f"{n}_{type_.rpartition('.')[2].title()}" for n, type_ in enumerate(types[1:], 1)),
    ]
    modules = [
        {"idx": n, "name": str(n), "path": path, "type": type_}
        for n, (path, type_) in enumerate(zip(paths, types, strict=True))
    ]
    write_json(folder / "modules.json", modules)
    return [folder / path for path in paths]


def write_qwen_vl(folder, family="qwen3_vl", normalizer=None):
    """Qwen3-VL-Embedding, or WeMM-Embedding on Qwen3.5: image and text, the last token's state."""
    folder.mkdir(parents=True)
    nano = SHIPPED["nano"]
    for name in ("tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"):
        shutil.copyfile(nano / name, folder / name)
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    if normalizer is not None:
        tokenizer = json.loads((folder / "tokenizer.json").read_text())
        write_json(folder / "tokenizer.json", tokenizer | {"normalizer": normalizer})
        config = json.loads((folder / "tokenizer_config.json").read_text())
        write_json(folder / "tokenizer_config.json", config | {"tokenizer_class": "Qwen2Tokenizer"})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = qwen_vl_model(AutoTokenizer.from_pretrained(nano), family)
    model.save_pretrained(folder)
    _, pooling, _ = write_modules(
        folder,
        f"{BASE}.transformer.Transformer",
        f"{OWN}.pooling.Pooling",
        f"{BASE}.normalize.Normalize",
    )
    write_json(pooling / "config.json", {"embedding_dimension": 64, "pooling_mode": "lasttoken"})
    write_json(
        folder / "sentence_bert_config.json",
        {
            "transformer_task": "feature-extraction",
            "modality_config": {
                **dict.fromkeys(("text", "image"), STATES),
                "message": STATES | {"format": "structured"},
            },
            "module_output_name": "token_embeddings",
            "processing_kwargs": {"chat_template": {"add_generation_prompt": True}},
        },
    )
    write_json(
        folder / "config_sentence_transformers.json",
        {
            "model_type": "SentenceTransformer",
            "prompts": {"query": INSTRUCTION, "document": INSTRUCTION},
            "similarity_fn_name": "cosine",
        },
    )
    return folder


def qwen_vl_model(tokenizer, family):
    """The model without a head, for the tokenizer of nano."""
    ids = tokenizer.convert_tokens_to_ids
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "pad_token_id": tokenizer.pad_token_id,
        "initializer_range": 0.2,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10_000.0,
            "mrope_section": [4, 2, 2],
            "mrope_interleaved": True,
        },
    }
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "out_hidden_size": 64,
        "num_position_embeddings": 16,
    }
    tokens = {
        "image_token_id": ids("<|image_pad|>"),
        "video_token_id": ids("<|video_pad|>"),
        "vision_start_token_id": ids("<|vision_start|>"),
        "vision_end_token_id": ids("<|vision_end|>"),
    }
    if family == "qwen3_vl":
        vision |= {"deepstack_visual_indexes": [0]}
        return Qwen3VLModel(Qwen3VLConfig(text_config=text, vision_config=vision, **tokens)).eval()
    text["rope_parameters"] |= {"partial_rotary_factor": 1.0}
    text |= {
        "linear_key_head_dim": 16,
        "linear_value_head_dim": 16,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "layer_types": ["linear_attention"] * 3 + ["full_attention"],
    }
    return Qwen3_5Model(Qwen3_5Config(text_config=text, vision_config=vision, **tokens)).eval()


GEMMA_PROMPTS = {"query": "task: search result | query: ", "document": "title: none | text: "}
GEMMA_WORDS = (
    "task",
    ":",
    "search",
    "result",
    "|",
    "query",
    "title",
    "none",
    "text",
    "red",
    "mugs",
)


def write_embedding_gemma(folder):
    """EmbeddingGemma: bidirectional Gemma 3, the mean of its states, two dense layers."""
    folder.mkdir(parents=True)
    vocabulary = {token: n for n, token in enumerate(("<pad>", "<eos>", "<bos>", *GEMMA_WORDS))}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>"
    ).save_pretrained(folder)
    config = Gemma3TextConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        sliding_window=8,
        layer_types=["sliding_attention", "full_attention"],
        use_bidirectional_attention=True,
        initializer_range=0.2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        Gemma3TextModel(config).save_pretrained(folder)
        first, second = torch.randn(96, 32) / 6, torch.randn(32, 96) / 10
    _, pooling, wide, narrow, _ = write_modules(
        folder,
        f"{BASE}.transformer.Transformer",
        f"{OWN}.pooling.Pooling",
        f"{BASE}.dense.Dense",
        f"{BASE}.dense.Dense",
        f"{BASE}.normalize.Normalize",
    )
    write_json(pooling / "config.json", {"embedding_dimension": 32, "pooling_mode": "mean"})
    for path, weight in ((wide, first), (narrow, second)):
        write_json(
            path / "config.json",
            {
                "in_features": weight.shape[1],
                "out_features": weight.shape[0],
                "bias": False,
                "activation_function": "torch.nn.modules.linear.Identity",
            },
        )
        save_file({"linear.weight": weight}, path / "model.safetensors")
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 64})
    write_json(
        folder / "config_sentence_transformers.json",
        {"model_type": "SentenceTransformer", "prompts": GEMMA_PROMPTS},
    )
    return folder

"""A model version as a folder that `SentenceTransformer(folder)` loads, for its direct mode.

The folder consists of sentence-transformers' own modules, so it needs neither Ponder nor remote
code: the prompt, down to the gate and embedding tokens and the neutralising of control tokens, is
written as its chat template; an embedding head is put in place of the layers that it stands
beside. Where torchvision is missing, `embedder.prompting.image_processor.register` must be called
before loading.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from embedder.model.checkpoint import image_size
from embedder.prompting.template import (
    DIRECT,
    EMB,
    IMAGE_END,
    IMAGE_PAD,
    IMAGE_START,
    PONDER_TOKENS,
    TURN_END,
    TURN_START,
    spelled_out,
)
from embedder.sentence.folded_head import fold_head, require_foldable
from embedder.version import READ_PATTERNS, Manifest, read_manifest, resolve

STATES = {"method": "forward", "method_output_name": "last_hidden_state"}
MODULES = {
    "": "sentence_transformers.base.modules.transformer.Transformer",
    "1_Pooling": "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
    "2_Normalize": "sentence_transformers.base.modules.normalize.Normalize",
}

# `template.prompt` and the direct answer, for transformers' Jinja. sentence-transformers
# hands the instruction over as a system message.
CHAT_TEMPLATE = """\
{%- macro safe(text) -%}
{%- set kept = namespace(text=text) -%}
{%- for token, harmless in NEUTRALISED -%}
{%- set kept.text = kept.text | replace(token, harmless) -%}
{%- endfor -%}
{{- kept.text -}}
{%- endmacro -%}
{{- 'TURN_STARTuser\\n' -}}
{%- for message in messages if message.role == 'user' -%}
{%- for part in message.content if part.type == 'image' -%}
{{- 'IMAGE_TOKENS' -}}
{%- endfor -%}
{%- endfor -%}
{%- for message in messages if message.role == 'system' -%}
{%- for part in message.content -%}{{- part.text -}}{%- endfor -%}
{%- endfor -%}
{{- '\\n' -}}
{%- for message in messages if message.role == 'user' -%}
{%- for part in message.content if part.type == 'text' -%}{{- safe(part.text) -}}{%- endfor -%}
{%- endfor -%}
{{- 'TURN_END\\nTURN_STARTassistant\\nANSWER' -}}
"""


def export(model: str, folder: Path) -> None:
    """Copies a model version and adds what sentence-transformers needs.

    `encode_query` and `encode_document` then use the version's two instructions, for texts,
    images and `{"text": ..., "image": ...}`. One thing differs: a text beyond the version's
    `max_text_tokens` is not cut.

    Args:
        model: `nano`, a folder, or a hub id.
        folder: where to write; must not exist yet or be empty.

    Raises:
        FileExistsError: the folder holds something.
        ValueError: the model lacks the control tokens, so it has no direct mode to export, or has
            an embedding head that pools.
    """
    source = resolve(model)
    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    if missing := set(PONDER_TOKENS) - set(tokenizer.get_vocab()):
        raise ValueError(
            f"{model!r} must know the control tokens, got none of {sorted(missing)}; fine-tune it "
            "first, or load it with sentence-transformers as it is"
        )
    require_foldable(source)
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} must be empty or not exist; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    for path in {path for pattern in READ_PATTERNS for path in source.glob(pattern)}:
        shutil.copyfile(path, folder / path.name)
    fold_head(folder)
    manifest = read_manifest(source)
    (folder / "chat_template.jinja").write_text(chat_template(list(tokenizer.get_added_vocab())))
    _cap_images(folder, manifest)
    hidden_size = _hidden_size(folder)
    for name, values in _module_configs(manifest, hidden_size).items():
        _write(folder / name, values)


def chat_template(added_tokens: list[str]) -> str:
    """Return `template.prompt` with the direct answer, as a Jinja chat template."""
    longest_first = sorted((token for token in added_tokens if len(token) > 1), key=len)[::-1]
    neutralised = [[token, spelled_out(token)] for token in longest_first]
    filled = {
        "NEUTRALISED": json.dumps(neutralised),
        "IMAGE_TOKENS": IMAGE_START + IMAGE_PAD + IMAGE_END,
        "TURN_START": TURN_START,
        "TURN_END": TURN_END,
        "ANSWER": DIRECT + EMB,
    }
    template = CHAT_TEMPLATE
    for name, value in filled.items():
        template = template.replace(name, value)
    return template


def _module_configs(manifest: Manifest, hidden_size: int) -> dict[str, Any]:
    """Return the files that sentence-transformers reads, by their path in the folder."""
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": module}
        for i, (path, module) in enumerate(MODULES.items())
    ]
    prompts = {"query": manifest.query_instruction, "document": manifest.item_instruction}
    return {
        "modules.json": modules,
        "config_sentence_transformers.json": {
            "model_type": "SentenceTransformer",
            "prompts": prompts,
            "similarity_fn_name": "cosine",
        },
        "sentence_bert_config.json": {
            "transformer_task": "feature-extraction",
            "modality_config": {
                "text": STATES,
                "image": STATES,
                "message": STATES | {"format": "structured"},
            },
            "module_output_name": "token_embeddings",
            "model_kwargs": {"dtype": "float32"},
        },
        "1_Pooling/config.json": {"embedding_dimension": hidden_size, "pooling_mode": "lasttoken"},
        "2_Normalize/config.json": {},
    }


def _cap_images(folder: Path, manifest: Manifest) -> None:
    """Writes the version's limit on image tokens into the processor, where everyone reads it."""
    path = folder / "preprocessor_config.json"
    size = image_size(folder, max_tokens=manifest.max_image_tokens)
    _write(path, json.loads(path.read_text()) | {"size": size})


def _hidden_size(folder: Path) -> int:
    return json.loads((folder / "config.json").read_text())["text_config"]["hidden_size"]


def _write(path: Path, values: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(values, indent=2) + "\n")

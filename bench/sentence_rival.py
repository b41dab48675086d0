"""nano as a sentence-transformers model, so that the rival has the same weights and prompts."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules.transformer import Transformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from transformers import AutoProcessor, ProcessorMixin, Qwen3VLConfig, Qwen3VLProcessor

from embedder.version import SHIPPED, read_manifest

# The prompt of `embedder.prompting.template` with the direct answer behind it, for items.
CHAT_TEMPLATE = """\
{%- for message in messages -%}
<|im_start|>user
{% for part in message['content'] if part['type'] == 'image' -%}
<|vision_start|><|image_pad|><|vision_end|>
{%- endfor %}INSTRUCTION
{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor -%}
<|im_end|>
{% endfor -%}
<|im_start|>assistant
<|direct|><|emb|>"""


class ImageProcessor(Qwen3VLProcessor):
    """Qwen3-VL's processor without its video part, which needs torchvision."""

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        chat_template: str | None = None,
        **options: Any,
    ) -> None:
        for name in ("image", "video", "vision_start", "vision_end"):
            token = f"<|{name}_pad|>" if name in ("image", "video") else f"<|{name}|>"
            setattr(self, f"{name}_token", token)
            setattr(self, f"{name}_token_id", tokenizer.convert_tokens_to_ids(token))
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)


def sentence_nano(folder: Path) -> SentenceTransformer:
    """Write the shipped model to `folder`, and return it as loaded from there."""
    AutoProcessor.register(Qwen3VLConfig, ImageProcessor, exist_ok=True)
    shutil.copytree(SHIPPED["nano"], folder, dirs_exist_ok=True)
    manifest = read_manifest(SHIPPED["nano"])
    template = CHAT_TEMPLATE.replace("INSTRUCTION", manifest.item_instruction)
    (folder / "chat_template.jinja").write_text(template)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["padding_side"] = "left"
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    transformer = Transformer(str(folder), model_kwargs={"dtype": torch.float32})
    size = transformer.get_embedding_dimension()
    return SentenceTransformer(
        modules=[transformer, Pooling(size, "lasttoken"), Normalize()], device="cpu"
    )

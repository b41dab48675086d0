"""Qwen3-VL's processor for images and text, without video and so without torchvision.

`AutoProcessor`, and with it sentence-transformers, loads a Qwen3-VL folder only where torchvision
is installed, whose resizing besides differs from Pillow's. Once this one is registered, such a
folder loads everywhere and its images become the same patches as in `embedder.prompting.inputs`.
"""

from typing import Any

from transformers import (
    AutoProcessor,
    Qwen2VLImageProcessorPil,
    Qwen3_5Config,
    Qwen3VLConfig,
    Qwen3VLProcessor,
)
from transformers.processing_utils import ProcessorMixin

from embedder.prompting.template import IMAGE_END, IMAGE_PAD, IMAGE_START

VIDEO_PAD = "<|video_pad|>"


class ImageProcessor(Qwen3VLProcessor):
    """The stock processor with a Pillow-backed image processor and no video processor."""

    def __init__(
        self, image_processor: Any, tokenizer: Any, chat_template: str | None = None, **_: Any
    ) -> None:
        tokens = {
            "image": IMAGE_PAD,
            "video": VIDEO_PAD,
            "vision_start": IMAGE_START,
            "vision_end": IMAGE_END,
        }
        for name, token in tokens.items():
            setattr(self, f"{name}_token", token)
            setattr(self, f"{name}_token_id", tokenizer.convert_tokens_to_ids(token))
        # Past the stock one, which insists on a video processor.
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

    @classmethod
    def _get_arguments_from_pretrained(cls, folder: str, *args: Any, **kwargs: Any) -> list[Any]:
        tokenizer = super()._get_arguments_from_pretrained(folder, *args, **kwargs)[1]
        return [Qwen2VLImageProcessorPil.from_pretrained(folder), tokenizer]


def register() -> None:
    """Makes `AutoProcessor` use it for every Qwen3-VL model that this process loads from now on.

    Qwen3.5 reads images by the same processor.
    """
    for config in (Qwen3VLConfig, Qwen3_5Config):
        AutoProcessor.register(config, ImageProcessor, exist_ok=True)

"""What mteb hands to an encoder, as contents: texts and images, one batch at a time."""

import io
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from embedder.content import Content

if TYPE_CHECKING:
    from PIL import Image

PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


def contents(batches: Iterable[Mapping[str, Any]]) -> Iterator[Content]:
    """Yield a content for every row of mteb's batches, in order.

    mteb has put a document's title before its text, and a query's instruction behind it.

    Args:
        batches: columns by name; of `text`, strings, and `image`, decoded images (None: this row
            has none), at least one is there. Other columns are not looked at.

    Raises:
        ValueError: a batch has neither.
    """
    for batch in batches:
        columns = [batch[name] for name in ("text", "image") if name in batch]
        if not columns:
            raise ValueError(
                f"a task's contents must have text or image, got the columns {sorted(batch)}"
            )
        num_rows = len(columns[0])
        texts = batch.get("text", [""] * num_rows)
        images = batch.get("image", [None] * num_rows)
        for text, image in zip(texts, images, strict=True):
            yield Content(text, None if image is None else encoded(image))


def encoded(image: "Image.Image") -> bytes:
    """Encode an image without loss, for a content holds files as they come from outside.

    Of colour spaces that PNG lacks, such as CMYK, RGB is kept.
    """
    kept = image if image.mode in PNG_MODES else image.convert("RGB")
    file = io.BytesIO()
    kept.save(file, "PNG", compress_level=1)
    return file.getvalue()

"""Contents as a training reads them, again and again: prompts and picture features are kept."""

from collections.abc import Sequence
from functools import lru_cache

from embedder.backbone import Backbone
from embedder.content import Content
from embedder.finetune.answers import Prompted, Reading, read
from embedder.finetune.picture_cache import PictureCache
from embedder.inputs import Inputs
from embedder.sample import Sample


class Reader:
    """Reads prompts and answers with a model that is being trained."""

    def __init__(
        self,
        backbone: Backbone,
        inputs: Inputs,
        *,
        pictures: PictureCache | None = None,
        num_kept_samples: int = 4096,
    ) -> None:
        """A reader with nothing kept yet.

        Args:
            backbone: the model.
            inputs: its tokenizer and image processor.
            pictures: features by a tower that is not trained; None: computed at every reading.
            num_kept_samples: contents that stay tokenised, pictures cut into patches of bytes.
        """
        self.backbone, self.inputs, self.pictures = backbone, inputs, pictures
        self._sample = lru_cache(num_kept_samples)(inputs.sample)

    def sample(self, content: Content, instruction: str) -> Sample:
        """The prompt for a content.

        Raises:
            embedder.pictures.PictureError: the picture cannot be read.
        """
        return self._sample(content, instruction)

    def read(self, batch: Sequence[Prompted], *, with_words: bool = True) -> Reading:
        """See `embedder.finetune.answers.read`."""
        pictures = None
        if self.pictures is not None:
            pictures = self.pictures.features([one.sample for one in batch])
        return read(self.backbone, self.inputs, batch, pictures=pictures, with_words=with_words)

"""An MMEmb-R1 embedder that reads another reasoner's rationales (Think-Then-Embed).

The gate stays the embedder's own: one prefill gives its probability and the direct vector.
"""

from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from embedder.model.checkpoint import Checkpoint
from embedder.reasoners.decoder import ReasonerDecoder
from embedder.reasoners.reasoner import Reasoner, reasoned_version


class ReasonedEncoder(MMEmbR1):
    """Gate and vectors of a model version, rationales of a reasoner."""

    def __init__(self, checkpoint: Checkpoint, config: EmbedderConfig, reasoner: Reasoner) -> None:
        super().__init__(checkpoint, config, decoder=ReasonerDecoder(checkpoint, reasoner))
        self._reasoner = reasoner
        self.version = reasoned_version(
            self.version, reasoner=reasoner.name, prompt_version=reasoner.prompt_version
        )

    @property
    def reasoner(self) -> str:
        """Who writes its rationales."""
        return self._reasoner.name

    @property
    def prompt_version(self) -> str:
        """Of the reasoner's prompt."""
        return self._reasoner.prompt_version

"""A text or an image on its way through recall: put into the encoder's queue, then encoded."""

from concurrent.futures import Future
from dataclasses import dataclass

from recall.candidates import RecallOptions
from recall.query_encoder import Encoded
from recall.stages import Stages


@dataclass(frozen=True, slots=True)
class SubmittedQuery:
    """A text or image that waits for its encoding."""

    text: str

    version: str
    """Model version that answers it, from start to end."""

    answer: "Future[Encoded]"


@dataclass(frozen=True, slots=True, eq=False)
class EncodedQuery:
    """A text or image whose encoding is there, and that is to be searched for."""

    submitted: SubmittedQuery
    encoded: Encoded
    options: RecallOptions

    stages: Stages
    """A stopwatch that runs since the query came."""

    @property
    def alike(self) -> tuple[str, int, str] | None:
        """What is equal for queries that one call to the index can search for; None: it is alone.

        The filter as JSON, for to Python true equals 1, and a filter tells them apart.
        """
        options = self.options
        if options.hybrid or options.diversifies:
            return None
        return self.submitted.version, options.top_k, options.filter.model_dump_json()

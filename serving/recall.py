"""A request for candidates, put to recall, and made into the reply."""

from collections.abc import Callable
from dataclasses import replace

from catalog.lake.item_lookup import ItemLookup
from embedder.content import Content
from recall.candidates import Candidates
from recall.errors import InvalidQuery
from recall.query_encoder import Encoded
from recall.search import Recall, SubmittedQuery
from recall.stages import Stages
from serving.deadlines import until
from serving.images import decode_image
from serving.replies import RecallReply
from serving.requests import RecallRequest

FetchImage = Callable[[str], bytes]
"""The image behind an address; InvalidQuery when it cannot be had."""


class RecallService:
    """Answers requests for candidates; safe to call from several threads."""

    def __init__(
        self,
        recall: Recall,
        *,
        items: ItemLookup | None = None,
        fetch_image: FetchImage | None = None,
    ) -> None:
        """Answer from recall.

        Args:
            recall: finds the candidates.
            items: says what they are; None: requests for details are refused.
            fetch_image: of queries; None: addresses are refused.
        """
        self._recall, self._items, self._fetch_image = recall, items, fetch_image

    def answer(self, request: RecallRequest, stages: Stages | None = None) -> RecallReply:
        """Return the reply to a request.

        Args:
            request: what is asked.
            stages: a stopwatch that runs since it came; None: it came now.

        Raises:
            InvalidQuery, NotFound, Unavailable: as the methods of `recall.search.Recall` say.
        """
        stages = stages or Stages()
        if request.kind == "content":
            query = self.submit(request, stages)
            return self.by_encoding(request, query, query.answer.result(), stages)
        self._check(request)
        options, recall = request.options(), self._recall
        with until(stages.deadline(request.deadline_ms)):
            if request.item_id is not None:
                found = recall.by_item(request.item_id, options, stages)
            elif request.user_id is not None:
                found = recall.by_user(request.user_id, options, stages)
            else:
                found = recall.by_history(request.history or [], options, stages)
        return self._reply(request, found, stages)

    def submit(self, request: RecallRequest, stages: Stages) -> SubmittedQuery:
        """Put a text or an image into the encoder's queue; `by_encoding` goes on from there.

        Raises:
            Busy, InvalidQuery, Unavailable: as `recall.search.Recall.submit` says.
        """
        self._check(request)
        with stages.time("content"):
            content = self._content(request)
        with until(stages.deadline(request.deadline_ms)):
            return self._recall.submit(content, request.options(), stages)

    def by_encoding(
        self, request: RecallRequest, query: SubmittedQuery, encoded: Encoded, stages: Stages
    ) -> RecallReply:
        """Return the reply to a request whose text or image is encoded now."""
        with until(stages.deadline(request.deadline_ms)):
            found = self._recall.by_encoding(query, encoded, request.options(), stages)
        return self._reply(request, found, stages)

    def _check(self, request: RecallRequest) -> None:
        if request.details and self._items is None:
            raise InvalidQuery("details must be left out: this service has no catalogue")

    def _reply(self, request: RecallRequest, found: Candidates, stages: Stages) -> RecallReply:
        details = None
        if request.details and self._items is not None:
            with stages.time("details"):
                details = self._items.find(found.frame["item_id"].to_list())
        found = replace(found, took_ms=stages.took_ms)
        return RecallReply.of(found, explain=request.explain, details=details)

    def _content(self, request: RecallRequest) -> Content:
        image = None
        if request.image_base64 is not None:
            image = decode_image(request.image_base64)
        elif request.image_url is not None:
            if self._fetch_image is None:
                raise InvalidQuery("image_url must be left out: this service fetches no images")
            image = self._fetch_image(request.image_url)
        return Content(text=request.text or "", image=image)

"""A request for candidates, put to recall, and made into the reply."""

from collections.abc import Callable
from contextlib import nullcontext

from catalog.lake.item_lookup import ItemLookup
from embedder.content import Content
from recall.candidates import Candidates
from recall.client import within
from recall.errors import InvalidQuery
from recall.search import Recall
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

    def answer(self, request: RecallRequest) -> RecallReply:
        """Return the reply to a request.

        Raises:
            InvalidQuery, NotFound, Unavailable: as the methods of `recall.search.Recall` say.
        """
        if request.details and self._items is None:
            raise InvalidQuery("details must be left out: this service has no catalogue")
        found = self._found(request)
        details = None
        if request.details and self._items is not None:
            details = self._items.find(found.frame["item_id"].to_list())
        return RecallReply.of(found, explain=request.explain, details=details)

    def _found(self, request: RecallRequest) -> Candidates:
        options, recall = request.options(), self._recall
        if request.kind == "content":
            return recall.by_content(self._content(request), options)
        deadline_s = options.deadline_s
        with nullcontext() if deadline_s is None else within(deadline_s):
            if request.item_id is not None:
                return recall.by_item(request.item_id, options)
            if request.user_id is not None:
                return recall.by_user(request.user_id, options)
            return recall.by_history(request.history or [], options)

    def _content(self, request: RecallRequest) -> Content:
        image = None
        if request.image_base64 is not None:
            image = decode_image(request.image_base64)
        elif request.image_url is not None:
            if self._fetch_image is None:
                raise InvalidQuery("image_url must be left out: this service fetches no images")
            image = self._fetch_image(request.image_url)
        return Content(text=request.text or "", image=image)

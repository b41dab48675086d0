"""A request for candidates, put to recall, and made into the reply."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

from catalog.decoding.decoder import GuardedDecoder
from catalog.lake.item_lookup import ItemLookup
from embedder.content import Content
from recall.candidates import Candidates
from recall.content_query import EncodedQuery, SubmittedQuery
from recall.errors import InvalidQuery
from recall.query_encoder import Encoded
from recall.search import Recall
from recall.stages import Stages
from serving.audio import decode_audio
from serving.clips import decode_clip
from serving.deadlines import until
from serving.images import decode_image
from serving.replies import RecallReply
from serving.requests import RecallRequest

T = TypeVar("T")

FetchImage = Callable[[str], bytes]
"""The image behind an address; InvalidQuery when it cannot be had."""


@dataclass(frozen=True, slots=True, eq=False)
class EncodedRequest:
    """A request whose content is encoded."""

    request: RecallRequest
    query: EncodedQuery

    @classmethod
    def of(
        cls, request: RecallRequest, query: SubmittedQuery, encoded: Encoded, stages: Stages
    ) -> Self:
        """Put together what has become of a request so far."""
        return cls(request, EncodedQuery(query, encoded, request.options(), stages))

    @property
    def deadline(self) -> float | None:
        """A moment of `time.monotonic`; None: it has no end."""
        return self.query.stages.deadline(self.request.deadline_ms)


class RecallService:
    """Answers requests for candidates; safe to call from several threads."""

    def __init__(
        self,
        recall: Recall,
        *,
        items: ItemLookup | None = None,
        fetch_image: FetchImage | None = None,
        guarded_decoder: GuardedDecoder | None = None,
    ) -> None:
        """Answer from recall.

        Args:
            recall: finds the candidates.
            items: says what they are; None: requests for details are refused.
            fetch_image: of queries; None: addresses are refused.
            guarded_decoder: checks clips and sounds of queries; None: one of its own.
        """
        self._recall, self._items, self._fetch_image = recall, items, fetch_image
        self._guarded_decoder = guarded_decoder or GuardedDecoder()

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
            encoded = query.answer.result()
            [reply] = self.by_encodings([EncodedRequest.of(request, query, encoded, stages)])
            if isinstance(reply, Exception):
                raise reply
            return reply
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
        """Put a content into the encoder's queue; `by_encodings` goes on from there.

        Raises:
            Busy, InvalidQuery, Unavailable: as `recall.search.Recall.submit` says.
        """
        self._check(request)
        with stages.time("content"):
            content = self._content(request)
        with until(stages.deadline(request.deadline_ms)):
            return self._recall.submit(content, request.options(), stages)

    def is_quickly_read(self, request: RecallRequest) -> bool:
        """Whether `submit` of a request waits for nothing: no media, index or model."""
        return request.is_words and self._recall.live.is_loaded

    def submit_all(
        self, asked: Sequence[tuple[RecallRequest, Stages]]
    ) -> list[SubmittedQuery | Exception]:
        """Put several into the queue; each has a place in it or an error of its own."""
        return [_made_or_error(self.submit, *each) for each in asked]

    def by_encodings(self, asked: Sequence[EncodedRequest]) -> list[RecallReply | Exception]:
        """Return the replies to requests whose texts and images are encoded now.

        Args:
            asked: several must be alike. They are searched for in one call, which ends before the
                last of their deadlines.
        """
        with until(_last([each.deadline for each in asked])):
            found = self._recall.by_encodings([each.query for each in asked])
        return [
            _made_or_error(self._reply, each.request, one, each.query.stages)
            for each, one in zip(asked, found, strict=True)
        ]

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
        clip = None
        if request.video_base64 is not None:
            clip = decode_clip(request.video_base64, self._guarded_decoder)
        audio = None
        if request.audio_base64 is not None:
            audio = decode_audio(request.audio_base64, self._guarded_decoder)
        return Content(text=request.text or "", image=image, clip=clip, audio=audio)


def _last(deadlines: Sequence[float | None]) -> float | None:
    """Return the last of some deadlines; None where one of them is none."""
    ends = [deadline for deadline in deadlines if deadline is not None]
    return max(ends) if len(ends) == len(deadlines) else None


def _made_or_error(make: Callable[..., T], *given: Any) -> T | Exception:
    try:
        return make(*given)
    except Exception as error:  # of whatever kind: it is told to the one who asked
        return error

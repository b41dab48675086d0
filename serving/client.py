"""A client of the service, typed, for programs and notebooks: `Client`, and `AsyncClient` alike.

It needs neither torch nor a web framework, and its replies are the service's own models.

    with Client("http://127.0.0.1:8000") as client:
        for candidate in client.recall(text="3 red mugs", top_k=5).candidates:
            ...

A call that finds the service busy (429) or unavailable (503), or does not reach it at all, is made
again after the time that the service asks for, within one deadline for all of it. What is refused
for good is a `ServiceError` at once.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx2

from serving import client_requests
from serving.catalogue_replies import CatalogueReply, ItemReply, UserReply
from serving.client_requests import Call, RecallQuery, RecommendQuery
from serving.client_retries import BUSY, Patience, Tries
from serving.replies import ItemChangeReply, RecallBatchReply, RecallReply, RecommendReply
from serving.state_replies import StateReply

Reply = TypeVar("Reply")

MAX_MESSAGE_BYTES = 500


class ServiceError(Exception):
    """The service answered that it will not, or cannot.

    Attributes:
        status: of HTTP, e.g. 404.
        type: the service's word for it, e.g. `not_found`; `unknown` when something between the two
            has answered.
        fields: the fields that were refused, with `field` and `message` each; mostly empty.
    """

    def __init__(
        self, status: int, type: str, message: str, fields: Sequence[dict[str, str]] = ()
    ) -> None:
        super().__init__(f"{status} {type}: {message}")
        self.status = status
        self.type = type
        self.fields = list(fields)


class Unreachable(ConnectionError):
    """The service gave no answer within the deadline, or there is nothing at its address."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one try."""

    status: int
    retry_after: str | None
    body: bytes

    @classmethod
    def of(cls, response: httpx2.Response, body: bytes) -> Self:
        """Return what matters of a response."""
        return cls(response.status_code, response.headers.get("retry-after"), body)


class Client:
    """Asks one service; safe to call from several threads. Close it, or use it in a `with`."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        patience: Patience | None = None,
        transport: httpx2.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Open no connection yet.

        Args:
            base_url: where the service listens, e.g. `http://127.0.0.1:8000`.
            api_key: sent as a bearer token; None for a service without keys.
            patience: deadline and tries of each call.
            transport: in place of the network.
            sleep: waits some seconds.
        """
        self._patience = patience or Patience()
        self._sleep = sleep
        self._http = httpx2.Client(
            base_url=base_url, headers=_headers(api_key), transport=transport
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def recall(self, **query: Unpack[RecallQuery]) -> RecallReply:
        """Find candidates for a text, an image, a clip, a sound, an item, a user or a history."""
        return self._send(client_requests.recall(**query))

    def recall_batch(self, queries: Sequence[RecallQuery]) -> RecallBatchReply:
        """Find candidates for up to 100 queries, each with its reply or its own error."""
        return self._send(client_requests.recall_batch(queries))

    def recommend(
        self, user_id: str | None = None, **query: Unpack[RecommendQuery]
    ) -> RecommendReply:
        """Recommend items to a user, in the ranker's order."""
        return self._send(client_requests.recommend(user_id, **query))

    def rank(
        self,
        item_ids: Sequence[str],
        *,
        user_id: str | None = None,
        history: Sequence[str] | None = None,
        deadline_ms: int | None = None,
        explain: bool = False,
    ) -> RecommendReply:
        """Put up to 1,000 items in the order in which they suit a user or a history."""
        return self._send(
            client_requests.rank(
                item_ids, user_id=user_id, history=history, deadline_ms=deadline_ms, explain=explain
            )
        )

    def item(self, item_id: str) -> ItemReply:
        """Return an item; `not_found` for one that is not there or deleted."""
        return self._send(client_requests.item(item_id))

    def items(self, item_ids: Sequence[str]) -> list[ItemReply]:
        """Return those of up to 100 items that are there, in the order of the ids."""
        return self._send(client_requests.items(item_ids))

    def put_item(self, item_id: str, fields: Mapping[str, Any]) -> ItemChangeReply:
        """Put an item in place of what is known of it, as the landing takes it."""
        return self._send(client_requests.put_item(item_id, fields))

    def delete_item(self, item_id: str) -> ItemChangeReply:
        """Delete an item."""
        return self._send(client_requests.delete_item(item_id))

    def image(self, path: str) -> bytes:
        """Return the WebP that an item's `image` names."""
        return self._send(client_requests.image(path))

    def clip(self, path: str) -> bytes:
        """Return the animated WebP that an item's `clip` names."""
        return self._send(client_requests.clip(path))

    def audio(self, path: str) -> bytes:
        """Return the MP3 that an item's `audio` names."""
        return self._send(client_requests.audio(path))

    def user(self, user_id: str) -> UserReply:
        """Return what a user did."""
        return self._send(client_requests.user(user_id))

    def catalogue(self) -> CatalogueReply:
        """Return what there is to look for."""
        return self._send(client_requests.catalogue())

    def state(self) -> StateReply:
        """Return versions, freshness and drift."""
        return self._send(client_requests.state())

    def metrics(self) -> str:
        """Return the metrics as Prometheus reads them."""
        return self._send(client_requests.metrics())

    def _send(self, call: Call[Reply]) -> Reply:
        tries = Tries(self._patience)
        while True:
            answer = self._once(call, tries)
            pause_s = _pause_s(answer, tries)
            if pause_s is None:
                return _read(call, answer)
            self._sleep(pause_s)

    def _once(self, call: Call[Reply], tries: Tries) -> Answer | Exception:
        try:
            with self._http.stream(**_arguments(call), timeout=tries.left_s()) as response:
                body = bytearray()
                for part in response.iter_bytes():
                    body += part
                    if not tries.left_s():  # a timeout of HTTP begins anew with every part
                        return httpx2.ReadTimeout("the deadline passed while the answer came")
                return Answer.of(response, bytes(body))
        except httpx2.TransportError as error:
            return error


class AsyncClient:
    """Asks one service from a coroutine; what `Client` does, awaited."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        patience: Patience | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """Open no connection yet; arguments as for `Client`."""
        self._patience = patience or Patience()
        self._http = httpx2.AsyncClient(
            base_url=base_url, headers=_headers(api_key), transport=transport
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def recall(self, **query: Unpack[RecallQuery]) -> RecallReply:
        """Find candidates for a text, an image, a clip, a sound, an item, a user or a history."""
        return await self._send(client_requests.recall(**query))

    async def recall_batch(self, queries: Sequence[RecallQuery]) -> RecallBatchReply:
        """Find candidates for up to 100 queries, each with its reply or its own error."""
        return await self._send(client_requests.recall_batch(queries))

    async def recommend(
        self, user_id: str | None = None, **query: Unpack[RecommendQuery]
    ) -> RecommendReply:
        """Recommend items to a user, in the ranker's order."""
        return await self._send(client_requests.recommend(user_id, **query))

    async def rank(
        self,
        item_ids: Sequence[str],
        *,
        user_id: str | None = None,
        history: Sequence[str] | None = None,
        deadline_ms: int | None = None,
        explain: bool = False,
    ) -> RecommendReply:
        """Put up to 1,000 items in the order in which they suit a user or a history."""
        return await self._send(
            client_requests.rank(
                item_ids, user_id=user_id, history=history, deadline_ms=deadline_ms, explain=explain
            )
        )

    async def item(self, item_id: str) -> ItemReply:
        """Return an item; `not_found` for one that is not there or deleted."""
        return await self._send(client_requests.item(item_id))

    async def items(self, item_ids: Sequence[str]) -> list[ItemReply]:
        """Return those of up to 100 items that are there, in the order of the ids."""
        return await self._send(client_requests.items(item_ids))

    async def put_item(self, item_id: str, fields: Mapping[str, Any]) -> ItemChangeReply:
        """Put an item in place of what is known of it, as the landing takes it."""
        return await self._send(client_requests.put_item(item_id, fields))

    async def delete_item(self, item_id: str) -> ItemChangeReply:
        """Delete an item."""
        return await self._send(client_requests.delete_item(item_id))

    async def image(self, path: str) -> bytes:
        """Return the WebP that an item's `image` names."""
        return await self._send(client_requests.image(path))

    async def clip(self, path: str) -> bytes:
        """Return the animated WebP that an item's `clip` names."""
        return await self._send(client_requests.clip(path))

    async def audio(self, path: str) -> bytes:
        """Return the MP3 that an item's `audio` names."""
        return await self._send(client_requests.audio(path))

    async def user(self, user_id: str) -> UserReply:
        """Return what a user did."""
        return await self._send(client_requests.user(user_id))

    async def catalogue(self) -> CatalogueReply:
        """Return what there is to look for."""
        return await self._send(client_requests.catalogue())

    async def state(self) -> StateReply:
        """Return versions, freshness and drift."""
        return await self._send(client_requests.state())

    async def metrics(self) -> str:
        """Return the metrics as Prometheus reads them."""
        return await self._send(client_requests.metrics())

    async def _send(self, call: Call[Reply]) -> Reply:
        tries = Tries(self._patience)
        while True:
            answer = await self._once(call, tries)
            pause_s = _pause_s(answer, tries)
            if pause_s is None:
                return _read(call, answer)
            await asyncio.sleep(pause_s)

    async def _once(self, call: Call[Reply], tries: Tries) -> Answer | Exception:
        left_s = tries.left_s()
        try:
            async with asyncio.timeout(left_s):
                response = await self._http.request(**_arguments(call), timeout=left_s)
                return Answer.of(response, response.content)
        except (httpx2.TransportError, TimeoutError) as error:
            return error


def _headers(api_key: str | None) -> dict[str, str]:
    return {} if api_key is None else {"authorization": f"Bearer {api_key}"}


def _arguments(call: Call[Reply]) -> dict[str, Any]:
    headers = {} if call.body is None else {"content-type": "application/json"}
    return {
        "method": call.method,
        "url": call.path,
        "content": call.body,
        "params": dict(call.params),
        "headers": headers,
    }


def _pause_s(answer: Answer | Exception, tries: Tries) -> float | None:
    """Return how long to wait before the call is made again; None when this answer stands."""
    if isinstance(answer, Answer):
        return tries.pause_s(answer.retry_after) if answer.status in BUSY else None
    # A connection that was refused has asked nothing; one that broke may have been answered.
    return tries.pause_s() if isinstance(answer, httpx2.ConnectError) else None


def _read(call: Call[Reply], answer: Answer | Exception) -> Reply:
    if not isinstance(answer, Answer):
        raise Unreachable(f"{call.method} {call.path} was not answered: {answer!r}") from answer
    if 200 <= answer.status < 300:
        return call.read(answer.body)
    raise _service_error(answer)


def _service_error(answer: Answer) -> ServiceError:
    try:
        error = json.loads(answer.body)["error"]
        fields = error.get("fields", ())
        return ServiceError(answer.status, error["type"], error["message"], fields)
    except (ValueError, LookupError, TypeError):
        said = answer.body[:MAX_MESSAGE_BYTES].decode(errors="replace") or "no message"
        return ServiceError(answer.status, "unknown", said)

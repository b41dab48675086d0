"""An OpenAI-compatible HTTP endpoint: vLLM, SGLang, llama.cpp or a service.

What the endpoint says is untrusted and so is how it behaves: answers are bounded in bytes and in
time, a redirect is not followed (it would carry the key along), and what fails is a `NoAnswer` with
its reason, never an exception.
"""

import base64
import io
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_result,
    stop_after_attempt,
    wait_exponential,
)

from catalog.records import RecordError
from embedder.content import Content, nothing_left
from embedder.prompting.images import open_image
from embedder.reasoners.config import EndpointConfig

MAX_TEXT_CHARS = 8_000  # of a content that are sent
MAX_IMAGE_SIDE = 1_024  # pixels; what is larger is scaled down before it is sent
MAX_ANSWER_BYTES = 2**20
OVERLOADED = (429, 503)
RETRIED = (408, 500, 502, 504, *OVERLOADED)
MISCONFIGURED = (401, 403, 404)
BACKOFF = wait_exponential(multiplier=1)  # 1 s, 2 s, 4 s, ...

Asked = TypeVar("Asked")
Read = TypeVar("Read")


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Why a question has no answer."""

    reason: str

    is_outage: bool = False
    """The endpoint answers nobody; a failure that is no outage is this question's own."""


@dataclass(frozen=True, slots=True)
class _Reply:
    """What came of one request."""

    outcome: bytes | NoAnswer

    is_worth_another: bool = False
    """Whether the same request may yet be answered."""

    retry_after_s: float | None = None
    """When the endpoint wants to be asked again, if it says so."""


class _Health:
    """What the questions of one call learn from each other about the endpoint; thread-safe."""

    def __init__(self, max_failures: int) -> None:
        self.outage: NoAnswer | None = None
        self._max_failures = max_failures
        self._in_a_row = 0
        self._lock = threading.Lock()

    def record(self, outcome: object, *, is_unwell: bool) -> None:
        """Notes an outcome, and whether the endpoint itself seems to have caused it."""
        with self._lock:
            self._in_a_row = self._in_a_row + 1 if is_unwell else 0
            is_down = self._in_a_row >= self._max_failures
            if isinstance(outcome, NoAnswer) and (outcome.is_outage or is_down):
                self.outage = self.outage or NoAnswer(outcome.reason, is_outage=True)


class ChatEndpoint:
    """Asks an endpoint for chat completions, several at a time."""

    def __init__(self, config: EndpointConfig, *, sleep: Callable[[float], None]) -> None:
        """Connects to nothing yet.

        Args:
            config: the endpoint.
            sleep: waits so many seconds before a request is repeated.
        """
        self._config = config
        self._sleep = sleep
        self._headers = {"Authorization": f"Bearer {config.key}"} if config.key else {}

    def ask(
        self,
        questions: Sequence[Asked],
        body: Callable[[Asked], dict[str, Any]],
        read: Callable[[bytes], Read | NoAnswer],
        *,
        max_attempts: int,
    ) -> list[Read | NoAnswer]:
        """Return what the endpoint answered to each question, in order.

        Once the endpoint proves to be down, what has not been asked yet fails with the same reason.

        Args:
            questions: of any type.
            body: a question as the request's JSON; may raise `RecordError`, of its image or clip.
            read: what a completion holds.
            max_attempts: requests for one question, the first included.
        """
        health = _Health(self._config.max_failures)

        def ask_one(question: Asked) -> Read | NoAnswer:
            if health.outage is not None:
                return health.outage
            try:
                asked = body(question)
            except RecordError as error:
                return NoAnswer(str(error))
            answer = self._ask(client, asked, max_attempts, health)
            return answer if isinstance(answer, NoAnswer) else read(answer)

        with (
            httpx2.Client(headers=self._headers, timeout=self._config.timeout_s) as client,
            ThreadPoolExecutor(self._config.concurrency) as threads,
        ):
            return list(threads.map(ask_one, questions))

    def _ask(
        self, client: httpx2.Client, body: dict[str, Any], max_attempts: int, health: _Health
    ) -> bytes | NoAnswer:
        retrying = Retrying(
            stop=stop_after_attempt(max_attempts),
            wait=self._wait_s,
            retry=retry_if_result(lambda reply: reply.is_worth_another),
            sleep=self._sleep,
            retry_error_callback=_reply_of,  # of the last attempt
        )
        reply = retrying(self._attempt, client, body)
        health.record(reply.outcome, is_unwell=reply.is_worth_another)
        return reply.outcome

    def _wait_s(self, state: RetryCallState) -> float:
        """Seconds before the next request: as many as the endpoint asks for, or ever more."""
        asked_s = _reply_of(state).retry_after_s
        return min(BACKOFF(state) if asked_s is None else asked_s, self._config.max_wait_s)

    def _attempt(self, client: httpx2.Client, body: dict[str, Any]) -> _Reply:
        try:
            status, retry_after_s, answer = self._post(client, body)
        except httpx2.TimeoutException:
            failure = NoAnswer(f"no answer within {self._config.timeout_s:g} s")
            return _Reply(failure, is_worth_another=True)
        except httpx2.HTTPError as error:
            failure = NoAnswer(f"the endpoint cannot be reached: {error}", is_outage=True)
            return _Reply(failure, is_worth_another=True)
        if status == 200:
            return _Reply(answer)
        reason = f"the endpoint answered HTTP {status}"
        if status in MISCONFIGURED:
            hint = (
                "check its address, model and key; those of the service are PONDER_REASONER_URL, "
                "PONDER_REASONER and PONDER_REASONER_KEY"
            )
            return _Reply(NoAnswer(f"{reason}; {hint}", is_outage=True))
        if status not in RETRIED:
            return _Reply(NoAnswer(reason))
        failure = NoAnswer(reason, is_outage=status in OVERLOADED)
        return _Reply(failure, is_worth_another=True, retry_after_s=retry_after_s)

    def _post(self, client: httpx2.Client, body: dict[str, Any]) -> tuple[int, float | None, bytes]:
        """Return status, seconds of `Retry-After` if it says so, and the answer's first 1 MiB.

        The client's timeout is for each read; a server that drips bytes is cut off here.
        """
        deadline = time.monotonic() + self._config.timeout_s
        url = f"{self._config.base_url.rstrip('/')}/chat/completions"
        answer = bytearray()
        with client.stream("POST", url, json=body) as response:
            for chunk in response.iter_bytes():
                answer += chunk
                if len(answer) > MAX_ANSWER_BYTES:
                    break
                if time.monotonic() > deadline:
                    raise httpx2.ReadTimeout("the answer drips")
            return (
                response.status_code,
                _seconds(response.headers.get("Retry-After")),
                bytes(answer),
            )


def content_parts(content: Content) -> list[dict[str, Any]]:
    """Return a content as parts of a chat message, cut and scaled to what is sent at most.

    Raises:
        catalog.images.check.ImageError: the image cannot be read.
        catalog.records.RecordError: there is nothing but a clip or a sound, which is not sent.
    """
    if (reason := nothing_left(content, "an endpoint")) is not None:
        raise RecordError("media", reason)
    parts: list[dict[str, Any]] = []
    if content.image is not None:
        parts.append({"type": "image_url", "image_url": {"url": _data_url(content.image)}})
    if content.text or not parts:
        parts.append(text_part(content.text[:MAX_TEXT_CHARS]))
    return parts


def text_part(text: str) -> dict[str, str]:
    """Return a text as a part of a chat message."""
    return {"type": "text", "text": text}


def _reply_of(state: RetryCallState) -> _Reply:
    assert state.outcome is not None, "asked before the first attempt"
    return state.outcome.result()


def _seconds(retry_after: str | None) -> float | None:
    """Read a `Retry-After` in seconds; its other form, a date, is left to the backoff."""
    return float(retry_after) if retry_after is not None and retry_after.isdecimal() else None


def _data_url(data: bytes) -> str:
    image = open_image(data)
    image.thumbnail((MAX_IMAGE_SIDE, MAX_IMAGE_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()

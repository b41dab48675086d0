"""A reasoner behind an OpenAI-compatible HTTP endpoint: vLLM, SGLang, llama.cpp or a service.

What the endpoint says is untrusted and so is how it behaves: answers are bounded in bytes and in
time, a redirect is not followed (it would carry the key along), and what fails is a `NoRationale`
with its reason, never an exception.
"""

import base64
import io
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import msgspec

from embedder.content import Content
from embedder.pictures import PictureError, open_picture
from embedder.reasoner import NoRationale, Rationale, Side
from embedder.reasoner_config import EndpointConfig
from embedder.reasoning_prompt import INSTRUCTIONS, read_answer

MAX_TEXT_CHARS = 8_000  # of a content that are sent
MAX_PICTURE_SIDE = 1_024  # pixels; what is larger is scaled down before it is sent
MAX_ANSWER_BYTES = 2**20
OVERLOADED = (429, 503)
RETRIED = (408, 500, 502, 504, *OVERLOADED)
MISCONFIGURED = (401, 403, 404)


class _Message(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None  # vLLM, DeepSeek: the thoughts, apart from the answer
    reasoning: str | None = None  # the same under its newer name


class _Choice(msgspec.Struct):
    message: _Message


class _Usage(msgspec.Struct):
    completion_tokens: int = 0


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None


class _Health:
    """What the contents of one call learn from each other about the endpoint; thread-safe."""

    def __init__(self, max_failures: int) -> None:
        self.outage: NoRationale | None = None
        self._max_failures = max_failures
        self._in_a_row = 0
        self._lock = threading.Lock()

    def record(self, outcome: Rationale | NoRationale) -> None:
        with self._lock:
            self._in_a_row = self._in_a_row + 1 if isinstance(outcome, NoRationale) else 0
            if isinstance(outcome, NoRationale) and (
                outcome.is_outage or self._in_a_row >= self._max_failures
            ):
                self.outage = self.outage or NoRationale(outcome.reason, is_outage=True)


class EndpointReasoner:
    """Asks a chat-completions endpoint; implements `embedder.reasoner.Reasoner`."""

    def __init__(
        self, config: EndpointConfig, *, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        """Connects to nothing yet.

        Args:
            config: the endpoint.
            sleep: waits so many seconds before a request is repeated.
        """
        self.name, self.prompt_version = config.name, config.prompt_version
        self._config = config
        self._sleep = sleep
        self._headers = {"Authorization": f"Bearer {config.key}"} if config.key else {}

    def reason(self, contents: Sequence[Content], side: Side) -> list[Rationale | NoRationale]:
        """What the endpoint wrote about each content, in order.

        Once the endpoint proves to be down, what has not been asked yet fails with the same reason.
        """
        health = _Health(self._config.max_failures)

        def ask(content: Content) -> Rationale | NoRationale:
            if health.outage is not None:
                return health.outage
            outcome = self._ask(client, content, side)
            health.record(outcome)
            return outcome

        with (
            httpx2.Client(headers=self._headers, timeout=self._config.timeout_s) as client,
            ThreadPoolExecutor(self._config.concurrency) as threads,
        ):
            return list(threads.map(ask, contents))

    def _ask(self, client: httpx2.Client, content: Content, side: Side) -> Rationale | NoRationale:
        try:
            body = self._body(content, side)
        except PictureError as error:
            return NoRationale(str(error))
        for attempt in range(1, self._config.max_attempts + 1):
            outcome, wait_s = self._attempt(client, body, attempt)
            if wait_s is None:
                break
            if attempt < self._config.max_attempts:
                self._sleep(min(wait_s, self._config.max_wait_s))
        return outcome

    def _attempt(
        self, client: httpx2.Client, body: dict[str, Any], attempt: int
    ) -> tuple[Rationale | NoRationale, float | None]:
        """What came of one request, and how long to wait before the next; None: ask no more."""
        backoff_s = 0.5 * 2**attempt
        try:
            status, retry_after, answer = self._post(client, body)
        except httpx2.TimeoutException:
            return NoRationale(f"no answer within {self._config.timeout_s:g} s"), backoff_s
        except httpx2.HTTPError as error:
            failure = NoRationale(f"the endpoint cannot be reached: {error}", is_outage=True)
            return failure, backoff_s
        if status == 200:
            return _read_completion(answer), None
        reason = f"the endpoint answered HTTP {status}"
        if status in MISCONFIGURED:
            hint = "check PONDER_REASONER, PONDER_REASONER_URL and PONDER_REASONER_KEY"
            return NoRationale(f"{reason}; {hint}", is_outage=True), None
        if status not in RETRIED:
            return NoRationale(reason), None
        wait_s = retry_after if retry_after is not None else backoff_s
        return NoRationale(reason, is_outage=status in OVERLOADED), wait_s

    def _post(self, client: httpx2.Client, body: dict[str, Any]) -> tuple[int, float | None, bytes]:
        """Status, seconds of `Retry-After` if it says so, and the answer's first 1 MiB.

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

    def _body(self, content: Content, side: Side) -> dict[str, Any]:
        parts: list[dict[str, Any]] = []
        if content.image is not None:
            parts.append({"type": "image_url", "image_url": {"url": _data_url(content.image)}})
        if content.text or not parts:
            parts.append({"type": "text", "text": content.text[:MAX_TEXT_CHARS]})
        return {
            "model": self._config.model,
            "messages": [
                {"role": "system", "content": INSTRUCTIONS[side]},
                {"role": "user", "content": parts},
            ],
            "max_tokens": self._config.max_tokens,
            "temperature": 0,
        }


def _read_completion(answer: bytes) -> Rationale | NoRationale:
    try:
        completion = msgspec.json.decode(answer, type=_Completion)
    except msgspec.MsgspecError as error:
        return NoRationale(f"the endpoint's answer is not a chat completion: {error}")
    if not completion.choices:
        return NoRationale("the endpoint's answer holds no choice")
    message = completion.choices[0].message
    thoughts = message.reasoning_content or message.reasoning or ""
    num_tokens = completion.usage.completion_tokens if completion.usage else 0
    return read_answer(message.content or "", thoughts=thoughts, num_tokens=num_tokens)


def _seconds(retry_after: str | None) -> float | None:
    """A `Retry-After` in seconds; its other form, a date, is left to the backoff."""
    return float(retry_after) if retry_after is not None and retry_after.isdecimal() else None


def _data_url(image: bytes) -> str:
    picture = open_picture(image)
    picture.thumbnail((MAX_PICTURE_SIDE, MAX_PICTURE_SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()

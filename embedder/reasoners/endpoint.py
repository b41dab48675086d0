"""A reasoner behind an OpenAI-compatible HTTP endpoint (`embedder.reasoners.chat_client`)."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from embedder.content import Content, Side
from embedder.reasoners.chat_client import ChatEndpoint, NoAnswer, content_parts
from embedder.reasoners.config import EndpointConfig
from embedder.reasoners.prompt import INSTRUCTIONS, read_answer
from embedder.reasoners.reasoner import NoRationale, Rationale


class _Message(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None  # vLLM, DeepSeek: the reasoning, apart from the answer
    reasoning: str | None = None  # the same under its newer name


class _Choice(msgspec.Struct):
    message: _Message


class _Usage(msgspec.Struct):
    completion_tokens: int = 0


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None


class EndpointReasoner:
    """Asks a chat-completions endpoint; implements `embedder.reasoners.reasoner.Reasoner`."""

    def __init__(
        self, config: EndpointConfig, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Connects to nothing yet.

        Args:
            config: the endpoint.
            sleep: waits so many seconds before a request is repeated.
        """
        self.name, self.prompt_version = config.name, config.prompt_version
        self._config = config
        self._endpoint = ChatEndpoint(config, sleep=sleep)

    def reason(self, contents: Sequence[Content], side: Side) -> list[Rationale | NoRationale]:
        """Return what the endpoint wrote about each content, in order.

        Once the endpoint proves to be down, what has not been asked yet fails with the same reason.
        Requests about items are repeated; those about queries are not, for somebody waits, unless
        the configuration says that nobody does.
        """
        is_repeated = side == "item" or self._config.repeat_queries
        outcomes = self._endpoint.ask(
            contents,
            lambda content: self._body(content, side),
            _read_completion,
            max_attempts=self._config.max_attempts if is_repeated else 1,
        )
        return [
            NoRationale(outcome.reason, outcome.is_outage)
            if isinstance(outcome, NoAnswer)
            else outcome
            for outcome in outcomes
        ]

    def _body(self, content: Content, side: Side) -> dict[str, Any]:
        drawn = {"seed": self._config.seed} if self._config.temperature > 0 else {}
        return {
            "model": self._config.model,
            "messages": [
                {"role": "system", "content": INSTRUCTIONS[side]},
                {"role": "user", "content": content_parts(content)},
            ],
            "max_tokens": self._config.max_tokens,
            "temperature": self._config.temperature,
            **drawn,
        }


def _read_completion(answer: bytes) -> Rationale | NoAnswer:
    try:
        completion = msgspec.json.decode(answer, type=_Completion)
    except msgspec.MsgspecError as error:
        return NoAnswer(f"the endpoint's answer is not a chat completion: {error}")
    if not completion.choices:
        return NoAnswer("the endpoint's answer holds no choice")
    message = completion.choices[0].message
    reasoning = message.reasoning_content or message.reasoning or ""
    num_tokens = completion.usage.completion_tokens if completion.usage else 0
    written = read_answer(message.content or "", reasoning=reasoning, num_tokens=num_tokens)
    return NoAnswer(written.reason) if isinstance(written, NoRationale) else written

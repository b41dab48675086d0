"""A judge behind an OpenAI-compatible endpoint that gives log-probabilities of its first token.

    z = log sum P(tokens that say yes) - log sum P(tokens that say no)

over the 20 likeliest first tokens. A word that is not among them is given the probability of the
least likely one that is: the log-odds are then a bound, further from 0 than which nothing is known.
The prompt is that of `embedder.finetune.rationales.judges.yes_no`, in chat messages.
"""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from embedder.finetune.rationales.judges.judge import JudgeInput
from embedder.finetune.rationales.judges.prompt import (
    INSTRUCTION,
    PROMPT_VERSION,
    SYSTEM,
    reasoning_line,
)
from embedder.reasoners.chat_client import (
    MAX_TEXT_CHARS,
    ChatEndpoint,
    NoAnswer,
    content_parts,
    text_part,
)
from embedder.reasoners.config import EndpointConfig
from embedder.reasoners.reasoner import ReasonerOutage

NUM_TOP = 20  # the most that OpenAI-compatible servers give
WORDS = ("yes", "no")


class _Top(msgspec.Struct):
    token: str
    logprob: float


class _Position(msgspec.Struct):
    top_logprobs: list[_Top]


class _Logprobs(msgspec.Struct):
    content: list[_Position]


class _Choice(msgspec.Struct):
    logprobs: _Logprobs


class _Completion(msgspec.Struct):
    choices: list[_Choice]


class EndpointJudge:
    """Asks a chat-completions endpoint; implements `judge.Judge`."""

    def __init__(
        self,
        config: EndpointConfig,
        *,
        instruction: str = INSTRUCTION,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Connect to nothing yet.

        Args:
            config: the endpoint; its `max_tokens`, `temperature` and `seed` are not used.
            instruction: what makes a document meet the requirements.
            sleep: waits so many seconds before a request is repeated.
        """
        self.name = f"yes-no:{config.name}/{PROMPT_VERSION}"
        self._model, self._max_attempts = config.model, config.max_attempts
        self._instruction = instruction
        self._endpoint = ChatEndpoint(config, sleep=sleep)

    def log_odds(self, judge_inputs: Sequence[JudgeInput]) -> np.ndarray:
        """Return [N] log-odds of yes against no, in nats; NaN for an input that was not judged.

        Raises:
            ReasonerOutage: the endpoint answers nobody.
        """
        outcomes = self._endpoint.ask(
            judge_inputs, self._body, read_odds, max_attempts=self._max_attempts
        )
        for outcome in outcomes:
            if isinstance(outcome, NoAnswer) and outcome.is_outage:
                raise ReasonerOutage(f"{outcome.reason}; judge again later")
        return np.array([math.nan if isinstance(o, NoAnswer) else o for o in outcomes])

    def _body(self, judge_input: JudgeInput) -> dict[str, Any]:
        about_item = reasoning_line(judge_input, "item", clean=_cut)
        asked = [
            text_part(f"<Instruct>: {self._instruction}<Query>:"),
            *content_parts(judge_input.query),
            text_part(f"{reasoning_line(judge_input, 'query', clean=_cut)}\n<Document>:"),
            *content_parts(judge_input.target),
            *([text_part(about_item)] if about_item else []),
        ]
        return {
            "model": self._model,
            "messages": [
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": asked},
            ],
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": True,
            "top_logprobs": NUM_TOP,
        }


def read_odds(answer: bytes) -> float | NoAnswer:
    """Read log-odds of yes against no off a chat completion, in nats."""
    try:
        completion = msgspec.json.decode(answer, type=_Completion)
    except msgspec.MsgspecError as error:
        return NoAnswer(f"the endpoint's answer holds no log-probabilities: {error}")
    tops = [
        top
        for choice in completion.choices[:1]
        for position in choice.logprobs.content[:1]
        for top in position.top_logprobs
    ]
    said = {
        word: [top.logprob for top in tops if top.token.strip().casefold() == word]
        for word in WORDS
    }
    if not any(said.values()):
        return NoAnswer("the endpoint's likeliest first tokens are neither yes nor no")
    least = min(top.logprob for top in tops)
    yes, no = (np.logaddexp.reduce(said[word] or [least]) for word in WORDS)
    return float(yes - no)


def _cut(text: str) -> str:
    return text[:MAX_TEXT_CHARS]

"""An MMEmb-R1 embedder that reads another reasoner's rationales (Think-Then-Embed).

The gate stays the embedder's own: one prefill gives its probability and the direct vector, and what
is to be reasoned about goes to the reasoner and is read together with what came back.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice

from embedder.base_encoder import BaseEncoder
from embedder.content import Answer, Content, Encoding, Failure, Policy, Side, reasons
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from embedder.model.checkpoint import Checkpoint
from embedder.reasoners.given_rationales import encode_given
from embedder.reasoners.reasoner import (
    NoRationale,
    Rationale,
    Reasoner,
    ReasonerOutage,
    reasoned_version,
)

TOO_LATE = "the reasoner had not answered when the deadline came"
MAX_WAITERS = 8  # calls that may be under way after their deadline; further ones wait for them
WINDOW = 4_096  # contents that are gated before the reasoner is asked, all of them at once


class ReasonedEncoder(BaseEncoder):
    """Gate and vectors of a model version, rationales of a reasoner."""

    def __init__(self, checkpoint: Checkpoint, config: EmbedderConfig, reasoner: Reasoner) -> None:
        self.checkpoint = checkpoint
        self._config = config
        self._own = MMEmbR1(checkpoint, config)
        self._reasoner = reasoner
        self.version = reasoned_version(
            self._own.version, reasoner=reasoner.name, prompt_version=reasoner.prompt_version
        )
        self.name, self.dim, self.dims = self._own.name, self._own.dim, self._own.dims
        self.reasoner, self.prompt_version = reasoner.name, reasoner.prompt_version
        self._waiters = ThreadPoolExecutor(MAX_WAITERS, thread_name_prefix="reasoner")

    def refusal(self, content: Content) -> str | None:
        """Why the content cannot be embedded; None when it can."""
        return self._own.refusal(content)

    def _answers(
        self,
        contents: Iterable[Content],
        side: Side,
        *,
        policy: Policy | None,
        deadline: float | None,
    ) -> Iterator[tuple[int, Answer]]:
        """See `BaseEncoder`; what has no rationale is answered directly and says why.

        At the deadline the reasoner is no longer waited for, but not interrupted: what it still
        writes may be kept for the next time.

        Raises:
            ReasonerOutage: of items. The catalogue would lose its reasoning item by item without a
                word, so nothing more is encoded until the reasoner is back.
        """
        stream = self._own.stream_queries if side == "query" else self._own.stream_items
        numbered = enumerate(contents)
        while window := dict(islice(numbered, WINDOW)):
            numbers = list(window)
            direct: dict[int, Encoding] = {}
            for place, answer in stream(list(window.values()), policy="never"):
                if isinstance(answer, Failure):
                    yield numbers[place], answer
                else:
                    direct[numbers[place]] = answer
            read = [window[number] for number in direct]
            outcomes = self._outcomes(read, list(direct.values()), policy, side, deadline)
            if side == "item":
                self._check_up(outcomes.values())
            encodings = self._read(read, list(direct.values()), outcomes, side)
            yield from zip(direct, encodings, strict=True)

    def _check_up(self, outcomes: Iterable[Rationale | NoRationale]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, NoRationale) and outcome.is_outage:
                raise ReasonerOutage(
                    f"the reasoner {self.reasoner!r} must answer, or PONDER_POLICY be never: "
                    f"{outcome.reason}; nothing was written, run the step again when it is back"
                )

    def _outcomes(
        self,
        contents: Sequence[Content],
        direct: list[Encoding],
        policy: Policy | None,
        side: Side,
        deadline: float | None,
    ) -> dict[int, Rationale | NoRationale]:
        """By row, what the reasoner made of the contents that are to be reasoned about."""
        policy, theta = policy or self._config.policy, self.checkpoint.manifest.theta
        rows = [
            row
            for row, encoding in enumerate(direct)
            if reasons(encoding.gate_probability, policy=policy, theta=theta)
        ]
        if not rows:
            return {}
        written = self._written([contents[row] for row in rows], side, deadline)
        return dict(zip(rows, written, strict=True))

    def _written(
        self, contents: list[Content], side: Side, deadline: float | None
    ) -> Sequence[Rationale | NoRationale]:
        if deadline is None or not contents:
            return self._reasoner.reason(contents, side)
        asked = self._waiters.submit(self._reasoner.reason, contents, side)
        try:
            return asked.result(timeout=max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            return [NoRationale(TOO_LATE)] * len(contents)

    def _read(
        self,
        contents: Sequence[Content],
        direct: list[Encoding],
        outcomes: dict[int, Rationale | NoRationale],
        side: Side,
    ) -> list[Encoding]:
        """The direct encodings, with those replaced for which there is a rationale to read."""
        encodings = list(direct)
        given = {row: out for row, out in outcomes.items() if isinstance(out, Rationale)}
        for row, failure in outcomes.items():
            if isinstance(failure, NoRationale):
                encodings[row] = replace(direct[row], fallback=failure.reason)
        vectors = encode_given(
            self.checkpoint,
            [contents[row] for row in given],
            list(given.values()),
            instruction=self.checkpoint.manifest.instruction(side),
        )
        for vector, (row, rationale) in zip(vectors, given.items(), strict=True):
            encodings[row] = replace(
                direct[row],
                vector=vector,
                action="reason",
                rationale=rationale.text,
                summary=rationale.summary,
                rationale_tokens=rationale.num_tokens,
            )
        return encodings

"""An MMEmb-R1 embedder that reads another reasoner's rationales (Think-Then-Embed).

The gate stays the embedder's own: one prefill gives its probability and the direct vector, and what
is to be reasoned about goes to the reasoner and is read together with what came back.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from embedder.checkpoint import Checkpoint
from embedder.content import Answer, Content, Encoding, Failure, Policy, in_order
from embedder.encode import EmbedderConfig, MMEmbR1
from embedder.given import encode_given
from embedder.reasoner import (
    NoRationale,
    Rationale,
    Reasoner,
    ReasonerOutage,
    Side,
    reasoned_version,
)

WINDOW = 4_096  # contents that are gated before the reasoner is asked, all of them at once


class ReasonedEncoder:
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

    def refusal(self, content: Content) -> str | None:
        """Why the content cannot be embedded; None when it can."""
        return self._own.refusal(content)

    def encode_query(
        self, queries: Sequence[Content], *, policy: Policy | None = None
    ) -> list[Encoding]:
        """Encodings of queries, in order.

        A query whose rationale cannot be had is answered with its direct vector, and `fallback`
        says why.

        Raises:
            embedder.pictures.PictureError: a picture cannot be read.
        """
        return in_order(self.stream_queries(queries, policy=policy))

    def encode_items(
        self,
        items: Sequence[Content],
        *,
        policy: Policy | None = None,
        progress: Callable[[int], None] = lambda done: None,
    ) -> list[Encoding]:
        """Encodings of items, in order; one that the reasoner fails at is as for `encode_query`.

        Raises:
            ReasonerOutage: as for `stream_items`.
            embedder.pictures.PictureError: a picture cannot be read.
        """
        return in_order(self.stream_items(items, policy=policy), progress)

    def stream_queries(
        self, queries: Iterable[Content], *, policy: Policy | None = None
    ) -> Iterator[tuple[int, Answer]]:
        """The number of each query, from 0, with its encoding or failure."""
        return self._answers(queries, policy, "query")

    def stream_items(
        self, items: Iterable[Content], *, policy: Policy | None = None
    ) -> Iterator[tuple[int, Answer]]:
        """As `stream_queries`, of items.

        Raises:
            ReasonerOutage: the reasoner answers nobody. The catalogue would lose its thinking
                item by item without a word, so nothing more is encoded until it is back.
        """
        return self._answers(items, policy, "item")

    def _answers(
        self, contents: Iterable[Content], policy: Policy | None, side: Side
    ) -> Iterator[tuple[int, Answer]]:
        manifest, own = self.checkpoint.manifest, self._own
        is_query = side == "query"
        instruction = manifest.query_instruction if is_query else manifest.item_instruction
        stream = own.stream_queries if is_query else own.stream_items
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
            outcomes = self._outcomes(read, list(direct.values()), policy, side)
            if not is_query:
                self._check_up(outcomes.values())
            encodings = self._read(read, list(direct.values()), outcomes, instruction=instruction)
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
    ) -> dict[int, Rationale | NoRationale]:
        """By row, what the reasoner made of the contents that are to be reasoned about."""
        policy, theta = policy or self._config.policy, self.checkpoint.manifest.theta
        if policy == "never":
            return {}
        rows = [
            row
            for row, encoding in enumerate(direct)
            if policy == "always" or encoding.gate_probability >= theta
        ]
        written = self._reasoner.reason([contents[row] for row in rows], side)
        return dict(zip(rows, written, strict=True))

    def _read(
        self,
        contents: Sequence[Content],
        direct: list[Encoding],
        outcomes: dict[int, Rationale | NoRationale],
        *,
        instruction: str,
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
            instruction=instruction,
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

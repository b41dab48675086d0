"""Write rationales by several workers, each seeing one content at a time: the prior.

MMEmb-R1 samples its rationales from an instruct, a thinking and a proprietary model; which ones,
how many and with what prompts is not public. Here a worker is any
`embedder.reasoners.reasoner.Reasoner`, and nothing in this file knows what a content is paired
with, so that no worker can be told.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

import polars as pl

from catalog.lake.tables import GENERATED_RATIONALES
from embedder.content import Content, Side
from embedder.finetune.data.pairs import Pair
from embedder.reasoners.cache import content_key
from embedder.reasoners.reasoner import NoRationale, Rationale, Reasoner, ReasonerOutage

logger = logging.getLogger(__name__)

CHUNK = 64  # contents after which what was written is kept, so that a killed run loses no more


class ScriptedWorker:
    """Says what it was given to say; implements `embedder.reasoners.reasoner.Reasoner`."""

    def __init__(
        self, scripts: Mapping[str, Rationale], *, name: str, prompt_version: str = "1"
    ) -> None:
        """Keep the scripts.

        Args:
            scripts: by `content_key`; there is no rationale for any other content.
            name: of the worker.
            prompt_version: another one for other scripts.
        """
        self.name, self.prompt_version = name, prompt_version
        self._scripts = scripts

    def reason(self, contents: Sequence[Content], side: Side) -> list[Rationale | NoRationale]:
        """Return the script of each content, in order."""
        missing = NoRationale("there is no script for this content")
        return [self._scripts.get(content_key(content), missing) for content in contents]


def contents_of(pairs: Iterable[Pair], side: Side) -> list[Content]:
    """Return the contents of one side, each once, in the order in which they first come."""
    sides = (pair.query if side == "query" else pair.target for pair in pairs)
    return list({content_key(content): content for content in sides}.values())


def write_rationales(
    contents: Sequence[Content],
    side: Side,
    workers: Sequence[Reasoner],
    *,
    written: pl.DataFrame,
    append: Callable[[pl.DataFrame], object],
) -> None:
    """Ask every worker about every content that it has not been asked about yet.

    What comes is handed to `append` every 64 contents, so a killed run, called again with what was
    appended, goes on where it stopped. A content that a worker fails at is not asked again.

    Args:
        contents: of one side, each once.
        side: of the contents.
        workers: with a name and prompt version that no other has.
        written: rows of the table `generated_rationales` from earlier calls; others among them do
            no harm.
        append: keeps more rows of the same table.

    Raises:
        ValueError: two workers cannot be told apart.
        ReasonerOutage: a worker answers nobody; the others have been asked, and all that was
            written is kept.
    """
    names = [(worker.name, worker.prompt_version) for worker in workers]
    if len(set(names)) < len(names):
        raise ValueError(
            f"every worker must have its own name and prompt version, got {sorted(names)}; give "
            "those of one model different seeds and a temperature above 0"
        )
    outages = []
    for worker in workers:
        done = _keys_of(written, side, worker)
        missing = [content for content in contents if content_key(content) not in done]
        outage = _ask(worker, missing, side, append)
        if outage is not None:
            outages.append(f"{worker.name}: {outage.reason}")
    if outages:
        raise ReasonerOutage(f"{'; '.join(outages)}; call again later, what was written is kept")


def _keys_of(written: pl.DataFrame, side: Side, worker: Reasoner) -> set[str]:
    by_whom = (pl.col("worker") == worker.name) & (
        pl.col("prompt_version") == worker.prompt_version
    )
    return set(written.filter(by_whom & (pl.col("side") == side))["key"])


def _ask(
    worker: Reasoner,
    contents: Sequence[Content],
    side: Side,
    append: Callable[[pl.DataFrame], object],
) -> NoRationale | None:
    """Ask a worker; return why it answers nobody, None when it does."""
    for start in range(0, len(contents), CHUNK):
        chunk = contents[start : start + CHUNK]
        outcomes = worker.reason(chunk, side)
        rows = [
            _row(content, side, worker, outcome)
            for content, outcome in zip(chunk, outcomes, strict=True)
            if not (isinstance(outcome, NoRationale) and outcome.is_outage)
        ]
        append(pl.DataFrame(rows, schema=GENERATED_RATIONALES.schema, orient="row"))
        num_failed = sum(isinstance(outcome, NoRationale) for outcome in outcomes)
        logger.info(
            "worker=%s side=%s asked=%d failed=%d", worker.name, side, len(chunk), num_failed
        )
        if len(rows) < len(chunk):
            return next(o for o in outcomes if isinstance(o, NoRationale) and o.is_outage)
    return None


def _row(
    content: Content, side: Side, worker: Reasoner, outcome: Rationale | NoRationale
) -> tuple[object, ...]:
    identity = (content_key(content), side, worker.name, worker.prompt_version)
    if isinstance(outcome, NoRationale):
        return (*identity, None, None, None, outcome.reason)
    return (*identity, outcome.text, outcome.summary, outcome.num_tokens, None)

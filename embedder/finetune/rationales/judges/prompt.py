"""What a vision-language model is asked that judges whether a query and a target match.

The words are those that Qwen3-VL-Reranker was trained with. The places of rationales are ours: a
line after the content that it is about, and no line without one.
"""

from collections.abc import Callable

from embedder.content import Side
from embedder.finetune.rationales.judges.judge import JudgeInput

PROMPT_VERSION = 1
"""Raise it whenever a word of the prompt changes."""

SYSTEM = (
    "Judge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".'
)
INSTRUCTION = "Given a search query, retrieve relevant candidates that answer the query."

_NAMES: dict[Side, str] = {"query": "Query", "item": "Document"}


def reasoning_line(
    judge_input: JudgeInput, side: Side, *, clean: Callable[[str], str] = str
) -> str:
    """Return the line with the rationale about a side; empty where there is none.

    Args:
        judge_input: with or without a rationale.
        side: after whose content the line goes.
        clean: makes the rationale, which is untrusted, fit for the prompt.
    """
    if judge_input.rationale is None or judge_input.side != side:
        return ""
    told = f"{judge_input.rationale.text} {judge_input.rationale.summary}".strip()
    return f"\n<Reasoning about the {_NAMES[side]}>:{clean(told)}"

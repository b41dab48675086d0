"""The assistant's turn as tokens, from the gate token to the embedding token."""

from collections.abc import Sequence

from embedder.prompting.inputs import Inputs
from embedder.prompting.template import reasoned_answer


def direct_answer(inputs: Inputs) -> tuple[int, ...]:
    """Return the tokens of the answer without a rationale."""
    return inputs.direct_id, inputs.emb_id


def rationale_answer(
    inputs: Inputs, text: str, summary: str, *, max_new_tokens: int | None = None
) -> tuple[int, ...]:
    """Return the tokens of the answer that reasons.

    Args:
        inputs: the tokenizer.
        text: of the rationale, untrusted: control tokens that it spells are plain text.
        summary: the same.
        max_new_tokens: tokens behind the gate token. What is too long loses the end of its text
            first and keeps its summary. None: nothing is cut.
    """
    tokens = inputs.tokens(reasoned_answer(inputs.neutralised(text), inputs.neutralised(summary)))
    if max_new_tokens is None or len(tokens) - 1 <= max_new_tokens:
        return tuple(tokens)
    split = tokens.index(inputs.summary_id)
    room = max(max_new_tokens - 2, 0)  # the summary and the embedding token are new tokens too
    summary_ids = tokens[split + 1 : -1][:room]
    text_ids = tokens[1:split][: room - len(summary_ids)]
    return (inputs.reason_id, *text_ids, inputs.summary_id, *summary_ids, inputs.emb_id)


def read_rationale(inputs: Inputs, token_ids: Sequence[int]) -> tuple[str, str]:
    """Return text and summary of a generated rationale, which need not have a summary."""
    has_summary = inputs.summary_id in token_ids
    split = token_ids.index(inputs.summary_id) if has_summary else len(token_ids)
    return inputs.decode(token_ids[:split]), inputs.decode(token_ids[split:])

"""`ponder recommend`: what the ranker puts first for a user."""

from typing import Annotated

import typer

from ponder.cli.options import JsonOption
from ponder.cli.terminal import failures, line, printable, show


def recommend(
    context: typer.Context,
    user: Annotated[str, typer.Argument(help="Whom to recommend to, by id.")],
    top_k: Annotated[int, typer.Option(help="How many items.", min=1, max=1000)] = 10,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail for a user without a history.")
    ] = False,
    code_levels: Annotated[
        int | None,
        typer.Option(
            help="Choose also among items that share so many first codes with the history; see "
            "ponder codes.",
            min=1,
        ),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say which features moved each score most.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Recommend items to a user: recall by their history, ordered by the trained ranker."""
    from ponder.steps import recommend as steps

    with failures():
        reply = steps.recommend(
            *(context.obj, user),
            top_k=top_k,
            strict=strict,
            code_levels=code_levels,
            explain=explain,
        )
    if as_json:
        show(reply, as_json)
        return
    show({"version": reply.version, "fallback": reply.fallback, "took_ms": reply.took_ms}, as_json)
    for found in reply.candidates:
        cosine = "    -" if found.recall_score is None else f"{found.recall_score:.3f}"
        how = "+".join(found.channels)
        line(
            f"{found.rank:>4}  {found.score:>8.3f}  {cosine}  {how:<16} {found.item_id:<12} "
            f"{printable(found.title)}"
        )
        if found.reasons:
            line(" " * 20 + ", ".join(f"{name} {by:+.3f}" for name, by in found.reasons.items()))

"""`ponder recommend`: what the ranker puts first for a user."""

from typing import Annotated

import typer

from ponder.cli.options import JsonOption
from ponder.cli.terminal import failures, line, printable, show


def recommend(
    context: typer.Context,
    user: Annotated[str, typer.Argument(help="Whom to recommend to, by id.")],
    top_k: Annotated[int, typer.Option(help="How many items.", min=1, max=1000)] = 10,
    as_json: JsonOption = False,
) -> None:
    """Recommend items to a user: recall by their history, ordered by the trained ranker."""
    from ponder.steps import recommend as steps

    with failures():
        reply = steps.recommend(context.obj, user, top_k=top_k)
    if as_json:
        show(reply, as_json)
        return
    show({"version": reply.version, "took_ms": reply.took_ms}, as_json)
    for found in reply.candidates:
        scores = f"{found.score:>8.3f}  {found.recall_score:.3f}"
        line(f"{found.rank:>4}  {scores}  {found.item_id:<12} {printable(found.title)}")

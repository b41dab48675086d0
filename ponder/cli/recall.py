"""`ponder recall` and `ponder serve`: ask the live version, once or over HTTP."""

import base64
import json
from pathlib import Path
from typing import Annotated

import typer

from ponder.cli.options import JsonOption
from ponder.cli.terminal import failures, line, printable, show


def recall(
    context: typer.Context,
    text: Annotated[str | None, typer.Argument(help="What to look for, in words.")] = None,
    image: Annotated[Path | None, typer.Option(help="An image to look for.")] = None,
    item: Annotated[str | None, typer.Option(help="Items like this one, by id.")] = None,
    user: Annotated[str | None, typer.Option(help="Items for this user, by id.")] = None,
    top_k: Annotated[int, typer.Option(help="How many items.", min=1, max=1000)] = 10,
    conditions: Annotated[
        str,
        typer.Option(
            "--filter",
            help='Conditions as JSON, e.g. \'{"category_in": ["toys"], '
            '"attributes": {"price": {"max": 20}}}\'.',
        ),
    ] = "{}",
    policy: Annotated[
        str, typer.Option(help="auto lets the gate decide to reason; always; never.")
    ] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Ask the live version: by words, image, item or user."""
    from ponder.steps import recall as steps

    with failures():
        request = {
            "text": text,
            "image_base64": image and base64.b64encode(image.read_bytes()).decode(),
            "item_id": item,
            "user_id": user,
            "top_k": top_k,
            "filter": json.loads(conditions),
            "policy": policy,
        }
        reply = steps.recall(context.obj, request)
    if as_json:
        show(reply, as_json)
        return
    how = ("version", "action", "rationale", "fallback", "took_ms")
    show({name: getattr(reply, name) for name in how}, as_json)
    for found in reply.candidates:
        line(f"{found.rank:>4}  {found.score:.3f}  {found.item_id:<12} {printable(found.title)}")


def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
) -> None:
    """Serve over HTTP: POST /v1/recall and /v1/recommend, GET /healthz, GET /metrics."""
    from ponder.steps import serve as steps

    with failures():
        steps.serve(context.obj, host=host, port=port)

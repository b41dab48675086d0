"""`ponder recall` and `ponder serve`: ask the live version, once or over HTTP."""

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from ponder.cli.options import JsonOption
from ponder.cli.terminal import failures, line, printable, show

if TYPE_CHECKING:
    from serving.replies import RecallReply


def recall(
    context: typer.Context,
    text: Annotated[str | None, typer.Argument(help="What to look for, in words.")] = None,
    image: Annotated[
        str | None, typer.Option(help="An image to look for: a file, or its http(s) address.")
    ] = None,
    video: Annotated[
        Path | None, typer.Option(help="A clip to look for: an MP4, WebM or GIF file.")
    ] = None,
    audio: Annotated[
        Path | None, typer.Option(help="A sound to look for: a WAV, FLAC, Ogg or MP3 file.")
    ] = None,
    item: Annotated[str | None, typer.Option(help="Items like this one, by id.")] = None,
    user: Annotated[str | None, typer.Option(help="Items for this user, by id.")] = None,
    history: Annotated[
        list[str] | None,
        typer.Option(help="Items for whoever liked these, newest first; once for each."),
    ] = None,
    top_k: Annotated[int, typer.Option(help="How many items.", min=1, max=1000)] = 10,
    conditions: Annotated[
        str | None,
        typer.Option(
            "--filter",
            help='Conditions as JSON, e.g. \'{"category_in": ["toys"], '
            '"attributes": {"price": {"max": 20}}}\'.',
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Leave this item out, by id; once for each.")
    ] = None,
    exclude_seen: Annotated[
        str | None,
        typer.Option(
            help="Leave out a user's items: none, liked, acted or shown. [default: acted]"
        ),
    ] = None,
    interests: Annotated[
        int | None,
        typer.Option(help="Search a history by so many interests; 1 is its mean. [default: 3]"),
    ] = None,
    code_levels: Annotated[
        int | None,
        typer.Option(help="Only items that share so many first codes; see ponder codes."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail for a user without a history.")
    ] = False,
    mmr_lambda: Annotated[
        float | None,
        typer.Option("--mmr", help="Spread out: 1 is relevance alone, 0 diversity alone."),
    ] = None,
    max_similarity: Annotated[
        float | None, typer.Option(help="Leave out near-duplicates from this cosine on.")
    ] = None,
    hybrid: Annotated[
        bool, typer.Option("--hybrid", help="Look for the words as well (BM25).")
    ] = False,
    reasoning: Annotated[
        str | None,
        typer.Option(help="auto lets the gate decide; always; never. [default: auto]"),
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(help="Tokens that a rationale may have.")
    ] = None,
    deadline_ms: Annotated[
        int | None, typer.Option(help="Give reasoning up after so many milliseconds.")
    ] = None,
    version: Annotated[
        str | None, typer.Option(help="Ask this model version. [default: the live one]")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Ask the live version: by words, image, clip, sound, item, user or history."""
    from ponder.steps import recall as steps

    with failures():
        request: dict[str, Any] = {
            "text": text,
            **_image(image),
            **_file("video_base64", video),
            **_file("audio_base64", audio),
            "item_id": item,
            "user_id": user,
            "history": history or None,
            "top_k": top_k,
            "filter": _filter(conditions, exclude or []),
            "exclude_seen": exclude_seen,
            "interests": interests,
            "code_levels": code_levels,
            "strict": strict or None,
            "mmr_lambda": mmr_lambda,
            "max_similarity": max_similarity,
            "hybrid": hybrid or None,
            "reasoning": reasoning,
            "max_new_tokens": max_new_tokens,
            "deadline_ms": deadline_ms,
            "version": version,
            "explain": True,
            "details": True,
        }
        reply = steps.recall(context.obj, _given(request))
    if as_json:
        typer.echo(reply.model_dump_json())
        return
    _show(reply)


def _file(field: str, path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    return {field: base64.b64encode(path.read_bytes()).decode()}


def _given(request: dict[str, Any]) -> dict[str, Any]:
    """Return what was asked for, so that the service's own defaults hold for the rest."""
    from serving.requests import CONTENT_FIELDS

    given = {name: value for name, value in request.items() if value is not None}
    if not given.keys() & {*CONTENT_FIELDS, "item_id", "user_id", "history"}:
        raise ValueError(
            'say what to look for: words ("3 red mugs"), --image, --video, --audio, --item, '
            "--user or --history"
        )
    return given


def _image(image: str | None) -> dict[str, str]:
    if image is None:
        return {}
    if image.startswith(("http://", "https://")):
        return {"image_url": image}
    return {"image_base64": base64.b64encode(Path(image).read_bytes()).decode()}


def _filter(conditions: str | None, exclude: list[str]) -> dict[str, Any] | None:
    """Return the filter that was written, with the excluded items.

    Raises:
        ValueError: it is no JSON object; the text shows where and what one looks like.
    """
    example = """write one like '{"category_in": ["toys"]}', in single quotes"""
    filter: Any = {}
    if conditions is not None:
        try:
            filter = json.loads(conditions)
        except json.JSONDecodeError as error:
            raise ValueError(
                f"--filter must be a JSON object, got {conditions!r}: {error.msg} at character "
                f"{error.pos + 1}; {example}"
            ) from error
        if not isinstance(filter, dict):
            raise ValueError(f"--filter must be a JSON object, got {conditions!r}; {example}")
    if exclude:
        filter = filter | {"exclude_ids": [*filter.get("exclude_ids", []), *exclude]}
    return filter or None


def _show(reply: "RecallReply") -> None:
    told = reply.model_dump(exclude={"candidates", "cut_short"})
    show(told, False)
    for found in reply.candidates:
        score = "     " if found.score is None else f"{found.score:.3f}"
        channels = "+".join(found.channels or [])
        line(
            f"{found.rank:>4}  {score}  {channels:<16} {found.item_id:<12} "
            f"{printable(found.title or '')}"
        )


def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    insecure_no_keys: Annotated[
        bool,
        typer.Option("--insecure-no-keys", help="Let whoever reaches the address ask everything."),
    ] = False,
) -> None:
    """Serve over HTTP: a console at /, POST /v1/recall and /v1/recommend, and /metrics."""
    from ponder.steps import serve as steps

    with failures():
        steps.serve(
            context.obj, host=host, port=port, is_open=insecure_no_keys, announce=_say_where
        )


def key(
    name: Annotated[str, typer.Argument(help="What the service's log calls it.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help="recall, recommend, write or admin; once for each. [default: recall]"),
    ] = None,
) -> None:
    """Make an API key for the service: show it once, and the setting that lets it in."""
    from serving.api_keys import Right, new_key

    scopes = list(dict.fromkeys(scope or ["recall"]))
    with failures():
        if unknown := [each for each in scopes if each not in get_args(Right)]:
            raise ValueError(
                f"--scope must be one of {', '.join(get_args(Right))}, got {unknown[0]!r}"
            )
    made, sha256 = new_key()
    line(f"The key, which is shown this once and kept nowhere: {made}")
    line("Let it in, in ponder.toml:")
    line(f"[api_keys.{json.dumps(name)}]")
    line(f'sha256 = "{sha256}"')
    line(f"scopes = {json.dumps(scopes)}")


def _say_where(address: str) -> None:
    line(f"Ponder listens at {address}")
    line("Open it in a browser for the console; programs ask POST /v1/recall. Ctrl-C stops it.")

"""The `ponder` command: every step of the pipeline, and the jobs made of them.

Exit codes: 0 done, 1 a step failed or refused (the reason is on standard error), 2 wrong usage.
"""

import base64
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from ponder.cli import dead_letters as letters_cli
from ponder.cli import embedder as embedder_cli
from ponder.cli import lake as lake_cli
from ponder.cli import land as upkeep_cli
from ponder.cli import models as models_cli
from ponder.cli.encode import encode
from ponder.cli.finetune import finetune
from ponder.cli.terminal import (
    bar,
    failures,
    line,
    log_to_console,
    out,
    printable,
    show,
    stop_signals,
)
from ponder.settings import Settings
from ponder.steps import land as steps
from ponder.steps.embed import embed_shards

app = typer.Typer(
    help="Multimodal recall and ranking whose embedder thinks before it embeds, when that pays.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(letters_cli.app, name="dead-letters")
app.add_typer(lake_cli.app, name="lake")
app.add_typer(embedder_cli.app, name="embedder")
app.add_typer(models_cli.app, name="models")

JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
DataArgument = Annotated[
    Path,
    typer.Option("--data", help="Folder of JSON Lines, Parquet or MovieLens files."),
]
SnapshotOption = Annotated[
    bool,
    typer.Option(
        "--snapshot",
        help="The folder holds the whole catalogue: delete the items that it lacks. "
        "Always so for MovieLens.",
    ),
]
MaxDeleteOption = Annotated[
    float,
    typer.Option(
        help="Refuse a snapshot that would delete a larger share of the items.", min=0, max=1
    ),
]


@app.callback()
def main(
    context: typer.Context,
    home: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the lake, index and reports [default: $PONDER_HOME or .ponder]"
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Embedder: nano, a folder, a hub id, or registry:NAME "
            "[default: $PONDER_MODEL or nano]"
        ),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every step.")] = False,
) -> None:
    """Reads the settings; addresses and secrets come from PONDER_* variables."""
    log_to_console(verbose=verbose)
    with failures():
        settings = Settings.from_env()
        if home is not None:
            settings = replace(settings, home=home)
        if model is not None:
            settings = replace(settings, model=model)
    context.obj = settings


@app.command()
def bazaar(
    folder: Annotated[Path, typer.Argument(help="Where to write the files.")],
    items: Annotated[int, typer.Option(help="Items ever listed.", min=1)] = 2_000,
    users: Annotated[int, typer.Option(help="Shoppers.", min=1)] = 300,
    weeks: Annotated[int, typer.Option(help="Weeks of events.", min=1)] = 4,
    queries: Annotated[int, typer.Option(help="Evaluation questions.", min=0)] = 300,
    seed: Annotated[int, typer.Option(help="Decides everything.")] = 7,
    as_json: JsonOption = False,
) -> None:
    """Generate a synthetic catalogue with images, shoppers and questions."""
    from catalog.bazaar.generator import BazaarConfig, write_bazaar

    config = BazaarConfig(
        num_items=items, num_users=users, num_weeks=weeks, num_queries=queries, seed=seed
    )
    with failures():
        show(write_bazaar(folder, config), as_json)


@app.command()
def land(
    context: typer.Context,
    data: Annotated[
        Path | None, typer.Option(help="Folder to land; without it, the Kafka topics are read.")
    ] = None,
    snapshot: SnapshotOption = False,
    max_delete_share: MaxDeleteOption = 0.1,
    follow: Annotated[
        bool, typer.Option("--follow", help="Kafka: go on at the end, until SIGTERM or Ctrl-C.")
    ] = False,
    metrics_port: Annotated[
        int | None, typer.Option(help="Kafka: serve Prometheus metrics here meanwhile.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Land items and events in the lake; what is wrong goes to dead_letters."""
    with failures():
        if data is None:
            with stop_signals() as stop, bar("land") as progress:
                counts = steps.land_kafka(
                    context.obj,
                    follow=follow,
                    stop=stop,
                    timeout_s=None,
                    metrics_port=metrics_port,
                    progress=progress,
                )
            show(counts, as_json)
            return
        with bar("land") as progress:
            counts = steps.land_folder(
                context.obj,
                data,
                snapshot=snapshot,
                max_delete_share=max_delete_share,
                progress=progress,
            )
        show(counts, as_json)


@app.command()
def publish(
    context: typer.Context,
    data: DataArgument,
    as_json: JsonOption = False,
) -> None:
    """Send a folder's items and events to the Kafka topics."""
    with failures():
        show(steps.publish(context.obj, data), as_json)


@app.command()
def plan(context: typer.Context, as_json: JsonOption = False) -> None:
    """Show what the configured model version has not embedded yet."""
    with failures():
        show(asdict(steps.plan(context.obj)), as_json)


@app.command()
def embed(
    context: typer.Context,
    workers: Annotated[
        int, typer.Option(help="Processes, each with a model and a GPU of its own.", min=1)
    ] = 1,
    as_json: JsonOption = False,
) -> None:
    """Embed everything that is new."""
    with failures():
        show(_embed_all(context.obj, num_workers=workers), as_json)


def _embed_all(settings: Settings, *, num_workers: int = 1) -> dict[str, int]:
    planned = steps.plan(settings)
    with bar("embed", planned.num_items) as progress:
        return embed_shards(settings, planned.shards, num_workers=num_workers, progress=progress)


app.command()(encode)
app.command()(finetune)


@app.command()
def index(context: typer.Context, as_json: JsonOption = False) -> None:
    """Make the configured version's collection equal to the lake, beside the live one."""
    with failures():
        show(steps.index(context.obj), as_json)


@app.command()
def validate(context: typer.Context, as_json: JsonOption = False) -> None:
    """Judge the configured version's collection; fails when it must not go live."""
    with failures():
        show(steps.validate(context.obj), as_json)


@app.command()
def promote(context: typer.Context, as_json: JsonOption = False) -> None:
    """Serve the configured version from now on."""
    with failures():
        show(steps.promote(context.obj), as_json)


@app.command()
def rollback(context: typer.Context, as_json: JsonOption = False) -> None:
    """Serve the version that was live before."""
    with failures():
        show(steps.rollback(context.obj), as_json)


@app.command()
def features(context: typer.Context, as_json: JsonOption = False) -> None:
    """Export the match features of every request, point in time."""
    with failures():
        show(steps.export_features(context.obj), as_json)


@app.command()
def rank(context: typer.Context, as_json: JsonOption = False) -> None:
    """Train the ranker with and without match features, and compare them."""
    with failures(), bar("rank") as progress:
        report = steps.train_ranker(context.obj, progress=progress)
    show(report if as_json else _headline(report), as_json)


def _headline(report: dict[str, Any]) -> dict[str, Any]:
    """The ranking metrics by variant, without slices and importances."""
    judged = report.get("overall", report)
    return {
        name: {metric: value["mean"] for metric, value in metrics.items()}
        for name, metrics in judged["metrics"].items()
    }


@app.command()
def evaluate(
    context: typer.Context,
    queries: Annotated[
        Path | None, typer.Option(help="A queries.jsonl; without it only users' histories count.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Judge recall: queries under each policy, and users' next items."""
    with failures(), bar("evaluate") as progress:
        report = steps.evaluate(context.obj, queries, progress=progress)
    show(report if as_json else _recall_headline(report), as_json)


def _recall_headline(report: dict[str, Any]) -> dict[str, Any]:
    """What a line has room for: hit@1 of the queries by policy and tier, hit@10 of the users."""
    queries, histories = report.get("queries"), report.get("histories")
    headline: dict[str, Any] = {}
    if queries:
        for policy, judged in queries["policies"].items():
            hits = {name: metrics["hit@1"] for name, metrics in judged["slices"].items()}
            headline[f"hit@1, {policy}"] = hits | {"reasoned": judged["reason_rate"]}
    if histories:
        headline["next item"] = {
            name: histories[name] for name in ("num_users", "num_items", "hit@10", "ndcg@10")
        }
    return headline


@app.command()
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
    show(
        {name: reply[name] for name in ("version", "action", "rationale", "fallback", "took_ms")},
        as_json,
    )
    for found in reply["candidates"]:
        title = printable(found["title"])
        line(f"{found['rank']:>4}  {found['score']:.3f}  {found['item_id']:<12} {title}")


@app.command()
def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
) -> None:
    """Serve recall over HTTP: POST /v1/recall, GET /healthz, GET /metrics."""
    with failures():
        steps.serve(context.obj, host=host, port=port)


app.command()(upkeep_cli.backfill)
app.command()(upkeep_cli.audit)


@app.command()
def status(context: typer.Context, as_json: JsonOption = False) -> None:
    """Show what the lake and the index hold."""
    with failures():
        show(steps.status(context.obj), as_json)


@app.command()
def run(
    context: typer.Context,
    data: DataArgument,
    snapshot: SnapshotOption = False,
    max_delete_share: MaxDeleteOption = 0.1,
    as_json: JsonOption = False,
) -> None:
    """Run the whole pipeline on a folder: land, embed, index, promote, evaluate, rank, report."""
    from ponder.reports.run.page import write_html

    settings: Settings = context.obj
    with failures():
        with bar("land") as progress:
            landed = steps.land_folder(
                settings,
                data,
                snapshot=snapshot,
                max_delete_share=max_delete_share,
                progress=progress,
            )
        result: dict[str, Any] = {"land": landed, "embed": _embed_all(settings)}
        for name, step in _SERVING_STEPS.items():
            with bar(name) as progress:
                result[name] = step(settings)
        queries = data / "queries.jsonl"
        with bar("evaluate") as progress:
            recall = steps.evaluate(
                settings, queries if queries.exists() else None, progress=progress
            )
        result |= _recall_headline(recall)
        with bar("rank") as progress:
            result["rank"] = _headline(steps.train_ranker(settings, progress=progress))
        with bar("report"):
            result["report"] = str(write_html(settings))
    show(result, as_json)
    if not as_json:
        out.print(f"\nOpen [bold]{result['report']}[/bold] in a browser.")


_SERVING_STEPS: dict[str, Callable[[Settings], dict[str, Any]]] = {
    "index": steps.index,
    "validate": steps.validate,
    "promote": steps.promote,
    "features": steps.export_features,
}


@app.command()
def demo(
    context: typer.Context,
    items: Annotated[int, typer.Option(help="Items of the catalogue.", min=50)] = 2_000,
    users: Annotated[int, typer.Option(help="Shoppers.", min=20)] = 300,
) -> None:
    """Generate a bazaar and run the whole pipeline on it; minutes on two cores."""
    from catalog.bazaar.generator import BazaarConfig, write_bazaar

    folder = context.obj.home / "bazaar"
    with failures(), bar("bazaar"):
        write_bazaar(folder, BazaarConfig(num_items=items, num_users=users))
    run(context, folder)


@app.command()
def report(context: typer.Context, as_json: JsonOption = False) -> None:
    """Write the HTML report of what the last run did."""
    from ponder.reports.run.page import write_html

    with failures():
        show({"path": str(write_html(context.obj))}, as_json)

"""`ponder ranker`: train it, ask what its features are worth, choose the one that serves."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ponder.cli.options import JsonOption
from ponder.cli.terminal import bar, failures, line, show

if TYPE_CHECKING:
    from ponder.steps.experiment import RatingsExperiment
    from ponder.steps.rank import RankerReport, TrainedRanker
    from ranker.config import RankerConfig
    from ranker.experiment import ExperimentReport

app = typer.Typer(
    help="Train rankers, measure what features are worth, choose the champion.",
    no_args_is_help=True,
)

ConfigOption = Annotated[
    Path | None,
    typer.Option("--params", help="TOML file of the ranker's parameters; see docs/ranker.md."),
]
SeedOption = Annotated[int, typer.Option(help="Of the intervals and samples.", min=0)]
VersionOption = Annotated[
    str | None, typer.Option("--version", help="Embedder version [default: the configured one]")
]
LogArgument = Annotated[Path, typer.Argument(help="A .jsonl, .csv or .parquet file.")]


@app.command()
def train(
    context: typer.Context,
    params: ConfigOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Train on the export, compare with the champion, and promote it or keep the champion."""
    from ponder.steps.rank import train_ranker

    with failures(), bar("ranker") as progress:
        config = _config(params)
        trained = train_ranker(context.obj, config=config, seed=seed, progress=progress)
    show(trained if as_json else headline(trained), as_json)


@app.command()
def experiment(
    context: typer.Context,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            help="Feature groups with commas, the baseline first; SPACE:GROUPS for another "
            "export's vectors [default: all but match, then all]"
        ),
    ] = None,
    export: Annotated[
        list[str] | None,
        typer.Option(help="SPACE=FOLDER of another export of the same requests."),
    ] = None,
    scores: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=FILE.parquet of another's scores: request_id, user_id, item_id, score."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Rankers of each variant.", min=1)] = 3,
    params: ConfigOption = None,
    liked_from: Annotated[
        float | None,
        typer.Option(help="Logs of ratings: those from this value on are liked [default: 3.5]"),
    ] = None,
    with_image: Annotated[
        bool, typer.Option("--with-image", help="Logs of ratings: only items with an image.")
    ] = False,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Measure what feature groups and spaces are worth, and look for leaks; writes a page."""
    from ponder.reports.ranking.page import write_experiment, write_ratings_experiment
    from ponder.steps.experiment import experiment as run

    with failures(), bar("experiment") as progress:
        report = run(
            context.obj,
            variants=variant or [],
            exports=export or [],
            scores=scores or [],
            num_seeds=seeds,
            config=_config(params),
            liked_from=liked_from,
            with_image=with_image,
            seed=seed,
            progress=progress,
        )
        folder = context.obj.reports_folder
        if report.protocol == "impressions":
            page = write_experiment(report, folder)
        else:
            page = write_ratings_experiment(report, folder)
    if as_json:
        show(report, as_json)
        return
    for name, part in parts_of(report).items():
        if name:
            line(f"\n{name}")
        show(metrics_by_variant(part), as_json)
        for alarm in part.alarms:
            line(f"ALARM ({alarm.kind}): {alarm.says}")
    line(f"Look at it in a browser: {page}")


@app.command(name="list")
def list_rankers(
    context: typer.Context, version: VersionOption = None, as_json: JsonOption = False
) -> None:
    """List the registered rankers of an embedder version, and which one serves."""
    from ponder.steps.rank import registered_rankers

    with failures():
        rows = registered_rankers(context.obj, version)
    if as_json:
        show({"rankers": rows}, as_json)
        return
    for row in rows:
        mark = "champion" if row.is_champion else ""
        verdict = "passed" if row.passed else "refused"
        line(f"{row.name:<24} {mark:<9} {row.created_at} {verdict:<8} {row.num_rows} rows")


@app.command()
def promote(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A registered ranker.")],
    version: VersionOption = None,
    force: Annotated[bool, typer.Option("--force", help="Even one that was refused.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a ranker the champion of its embedder version; a service takes it up at once."""
    from ponder.steps.rank import promote_ranker

    with failures():
        show(promote_ranker(context.obj, name, version, force=force), as_json)


@app.command()
def interleave(
    lists: LogArgument,
    out: Annotated[Path, typer.Option(help="JSON Lines to write.")],
    top_k: Annotated[int, typer.Option(help="Items of a list.", min=1)] = 10,
    seed: Annotated[int, typer.Option(help="Of the coins.", min=0)] = 0,
    as_json: JsonOption = False,
) -> None:
    """Draft one list of two rankers' for each request: request_id, team (a, b), item_id, rank."""
    from ponder.steps.online import write_interleaved

    with failures():
        show(write_interleaved(lists, out, top_k=top_k, seed=seed), as_json)


@app.command()
def interleaving(log: LogArgument, as_json: JsonOption = False) -> None:
    """Tell which of two interleaved rankers users chose from: request_id, user_id, team (a, b)."""
    from ponder.steps.online import interleaving_of

    with failures():
        show(interleaving_of(log), as_json)


@app.command(name="off-policy")
def off_policy(
    log: LogArgument,
    max_weight: Annotated[float, typer.Option(help="Cut larger weights to it.", min=0)] = 100.0,
    as_json: JsonOption = False,
) -> None:
    """Estimate another policy's reward by IPS and SNIPS: user_id, propensity, target, reward."""
    from ponder.steps.online import off_policy_of

    with failures():
        show(off_policy_of(log, max_weight=max_weight), as_json)


def headline(trained: "TrainedRanker") -> dict[str, object]:
    """Return what became of the ranker, and its metrics by variant."""
    return {
        "ranker": trained.name,
        "promoted": trained.promoted,
        "because": [check.says for check in trained.checks if check.passed == trained.promoted],
        **metrics_by_variant(trained.report),
    }


def parts_of(report: "ExperimentReport | RatingsExperiment") -> "dict[str, RankerReport]":
    """Return the tables of an experiment, by what they are called."""
    if report.protocol == "impressions":
        return {"": report}
    return {"as of the request": report.as_of, "everything known": report.all_known}


def metrics_by_variant(report: "RankerReport") -> dict[str, dict[str, float]]:
    """Return the ranking metrics by variant, without slices and importances."""
    metrics = report.overall.metrics if report.protocol == "impressions" else report.metrics
    return {
        name: {metric: value.mean for metric, value in by_metric.items()}
        for name, by_metric in metrics.items()
    }


def _config(params: Path | None) -> "RankerConfig | None":
    from ranker.config import read_config

    return None if params is None else read_config(params)

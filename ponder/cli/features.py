"""`ponder features`: what rankers learn from."""

from pathlib import Path
from typing import Annotated

import typer

from ponder.cli.options import JsonOption
from ponder.cli.terminal import bar, failures, line, show

app = typer.Typer(
    help="Export match features, point in time, for rankers to learn from.",
    invoke_without_command=True,
)
reference = typer.Typer(
    help="What features are measured against: made once, so that a past day stays as it is.",
    no_args_is_help=True,
)
app.add_typer(reference, name="reference")

FirstOption = Annotated[
    str | None, typer.Option("--from", help="First day (UTC), e.g. 2026-03-01 [default: all]")
]
LastOption = Annotated[str | None, typer.Option("--to", help="Last day, with it [default: all]")]
VersionOption = Annotated[
    str | None, typer.Option("--version", help="Embedder version [default: the configured one]")
]
SetOption = Annotated[
    str | None,
    typer.Option(
        "--set",
        help="Groups of features with commas, `default` or `all` [default: feature_set of the "
        "settings]",
    ),
]
NameOption = Annotated[str, typer.Option("--reference", help="Name of the reference.")]


@app.callback()
def all_days(context: typer.Context, as_json: JsonOption = False) -> None:
    """Export every day that is not done or can still change, with the features of the settings."""
    if context.invoked_subcommand is None:
        export(context, as_json=as_json)


@app.command()
def export(
    context: typer.Context,
    first: FirstOption = None,
    last: LastOption = None,
    version: VersionOption = None,
    groups: SetOption = None,
    name: NameOption = "default",
    folder: Annotated[
        Path | None,
        typer.Option("--out", help="Folder [default: that which rankers are trained on]"),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Also days that are done and have settled.")
    ] = False,
    as_served: Annotated[
        bool,
        typer.Option("--as-served", help="As the service computed them, where it kept them."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Export days, one partition each; goes on where a stopped export was."""
    from features.groups import groups_named
    from ponder.steps.features import days_between, export_features

    with failures(), bar("features") as progress:
        exported = export_features(
            context.obj,
            days=days_between(first, last),
            version=version,
            groups=None if groups is None else groups_named(groups),
            reference=name,
            folder=folder,
            again=again,
            as_served=as_served,
            progress=progress,
        )
    show(exported, as_json)


@app.command()
def describe(
    context: typer.Context,
    folder: Annotated[Path | None, typer.Argument(help="[default: the deployment's]")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what the values of each feature of an export are."""
    from ponder.steps.export_contents import describe_export

    with failures():
        found = describe_export(context.obj, folder)
    if as_json:
        show({"features": found}, as_json)
        return
    heads = " ".join(f"{head:>10}" for head in ("least", "mean", "greatest"))
    line(f"{'feature':<26} {'missing':>8} {heads} {'distinct':>9}")
    for each in found:
        numbers = " ".join(f"{_number(n):>10}" for n in (each.least, each.mean, each.greatest))
        line(f"{each.name:<26} {each.missing:>8.1%} {numbers} {each.distinct:>9}")


@app.command()
def diff(
    one: Annotated[Path, typer.Argument(help="Folder of an export.")],
    other: Annotated[Path, typer.Argument(help="Folder of another one.")],
    as_json: JsonOption = False,
) -> None:
    """Show in what two exports differ: how they were made, rows, and values by feature."""
    from ponder.steps.export_contents import diff_exports

    with failures():
        show(diff_exports(one, other), as_json)


@reference.command("make")
def make_reference(
    context: typer.Context,
    first: FirstOption = None,
    last: LastOption = None,
    version: VersionOption = None,
    groups: SetOption = None,
    name: NameOption = "default",
    as_json: JsonOption = False,
) -> None:
    """Measure a new one on some days; exports and rankers of the former no longer compare."""
    from features.groups import groups_named
    from ponder.steps.days import days_between
    from ponder.steps.feature_references import make_reference

    with failures():
        made = make_reference(
            context.obj,
            name=name,
            days=days_between(first, last),
            version=version,
            groups=None if groups is None else groups_named(groups),
        )
    show(made if as_json else _headline(made), as_json)


@reference.command("show")
def show_references(context: typer.Context, as_json: JsonOption = False) -> None:
    """Show every reference; of each name and version the last is in use."""
    from ponder.steps.feature_references import references

    with failures():
        found = references(context.obj)
    if as_json:
        show({"references": found}, as_json)
        return
    for each in found:
        told = _headline(each)
        line("  ".join(f"{name} {value}" for name, value in told.items()))


def _headline(reference: object) -> dict[str, object]:
    from features.reference import Reference

    assert isinstance(reference, Reference)
    return {
        "reference": f"{reference.name}/{reference.number}",
        "id": reference.id,
        "version": reference.centring.model_version,
        "items": reference.num_items,
        "from": f"{reference.first_ts:%Y-%m-%d %H:%M}",
        "to": f"{reference.last_ts:%Y-%m-%d %H:%M}",
    }


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"

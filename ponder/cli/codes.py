"""`ponder codes`: items as a few whole numbers that begin alike where items are alike."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ponder.cli.options import JsonOption
from ponder.cli.terminal import bar, failures, line, printable, show

if TYPE_CHECKING:
    from embedder.codes.config import CodesConfig
    from embedder.codes.quality import Reconstruction
    from ponder.steps.codes import CodesAccount

app = typer.Typer(
    help="Semantic IDs: an item as a few codes, such as 12-200-7, that begin alike where items "
    "are alike.",
    no_args_is_help=True,
)

MAX_TITLE_CHARS = 60


@app.command()
def learn(
    context: typer.Context,
    learner: Annotated[
        str,
        typer.Option(help="kmeans: residual k-means, seconds to minutes; vae: an RQ-VAE, minutes."),
    ] = "kmeans",
    levels: Annotated[
        int, typer.Option(help="Codes of an item, without the last digit.", min=1, max=8)
    ] = 3,
    codes: Annotated[int, typer.Option(help="Different codes of each level.", min=2)] = 256,
    sample: Annotated[
        int, typer.Option(help="Items at most that are learned from, drawn among all.", min=2)
    ] = 65_536,
    seed: Annotated[int, typer.Option(help="Of what is drawn.", min=0)] = 0,
    again: Annotated[
        bool,
        typer.Option("--again", help="Also when those in use were learned with these options."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Learn codes from the configured version's vectors, use them, and give them to all items."""
    from embedder.codes.config import CodesConfig
    from ponder.steps.codes import learn_codes

    with failures():
        if learner not in ("kmeans", "vae"):
            raise ValueError(f"--learner must be kmeans or vae, got {learner!r}")
        config = CodesConfig(
            learner="vae" if learner == "vae" else "kmeans",
            num_levels=levels,
            num_codes=codes,
            sample_items=sample,
            seed=seed,
        )
        learned = learn_codes(context.obj, config, again=again)
    if as_json:
        show(learned, as_json)
        return
    _tell_codebooks(learned.model_version, learned.codes_id, learned.config)
    _tell_reconstruction(learned.reconstruction)
    line(f"  {'new' if learned.is_new else 'in use already'}; codes given to {learned.assigned}")


@app.command()
def assign(context: typer.Context, as_json: JsonOption = False) -> None:
    """Give codes to items that were embedded since; `ponder index` does so too."""
    from ponder.steps.codes import assign_codes

    with failures(), bar("codes") as progress:
        assigned = assign_codes(context.obj, progress=progress)
    show(assigned, as_json)


@app.command("show")
def show_codes(
    context: typer.Context,
    item_id: Annotated[
        str | None,
        typer.Argument(metavar="ITEM", help="Its codes, and who shares them [default: all]"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show how good the codes are: what vectors lose, codes used, items that share all of theirs.

    With ITEM: its codes, and the items whose codes begin as its own do, those that share most
    first.
    """
    from ponder.steps.codes import codes_of_item, describe_codes

    with failures():
        if item_id is None:
            _tell_account(describe_codes(context.obj), as_json)
            return
        found = codes_of_item(context.obj, item_id)
    if as_json:
        show(found, as_json)
        return
    line(f"{found.codes} + {found.digit}  {_title(found.title)}")
    for shared in found.shared:
        line(f"  {shared.prefix}: {shared.num_items} others")
        for each in shared.first:
            line(f"    {each.item_id:<16} {each.codes:<16} {_title(each.title)}")


@app.command()
def export(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write to.")],
    first: Annotated[
        str | None, typer.Option("--from", help="First day (UTC) of likes [default: all]")
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", help="Last day, with it [default: all]")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write items and users' sequences of them as codes, for generative recommenders: Parquet."""
    from ponder.steps.code_export import export_codes
    from ponder.steps.days import days_between

    with failures():
        exported = export_codes(context.obj, folder, days=days_between(first, last))
    show(exported, as_json)


def _tell_account(account: "CodesAccount", as_json: bool) -> None:
    if as_json:
        show(account, as_json)
        return
    _tell_codebooks(account.model_version, account.codes_id, account.config)
    _tell_reconstruction(account.reconstruction)
    use = account.use
    line(f"  {use.num_items} items, {use.shared:.1%} of them share all codes with another, at most")
    line(f"  {use.largest_group} the same; {account.without_codes} have none yet")
    line(f"  {'level':>5} {'error':>7} {'used':>7} {'even':>7} {'prefixes':>9}")
    rows = zip(
        *(account.reconstruction.error_by_level, use.used, use.entropy, use.prefixes), strict=True
    )
    for level, (error, used, entropy, prefixes) in enumerate(rows, start=1):
        line(f"  {level:>5} {error:>7.3f} {used:>7.1%} {entropy:>7.3f} {prefixes:>9}")


def _tell_codebooks(version: str, codes_id: str, config: "CodesConfig") -> None:
    line(f"codes {codes_id} of {version}: {config.num_levels} levels of {config.num_codes}, by")
    line(f"  {config.learner}, seed {config.seed}")


def _tell_reconstruction(measured: "Reconstruction") -> None:
    whose = "held out" if measured.held_out else "that they were learned from"
    line(
        f"  cosine of a vector with its codes' {measured.cosine:.3f}, relative error "
        f"{measured.relative_error:.3f}, on {measured.num_vectors} items {whose}"
    )


def _title(title: str | None) -> str:
    return printable(title or "", max_chars=MAX_TITLE_CHARS)

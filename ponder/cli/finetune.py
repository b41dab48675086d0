"""`ponder finetune`: from data to a registered version, in as many pieces as it is killed into."""

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ponder.cli.options import JsonOption
from ponder.cli.terminal import bar, failures, line, printable, show, silence
from ponder.finetuning.config import TUNED
from ponder.finetuning.options import assigned
from ponder.finetuning.recipes import RECIPES
from ponder.finetuning.short_options import SHORT, Short, short_changes

if TYPE_CHECKING:
    from ponder.finetuning.results import Evaluation


def show_recipes(is_asked: bool) -> None:
    """Print the named recipes and what they change, and end the command."""
    if not is_asked:
        return
    for name, recipe in RECIPES.items():
        line(f"{name}: {recipe.measured}")
        for option, value in recipe.values.items():
            shown = "none" if value is None else value
            line(f"  {option} = {', '.join(shown) if isinstance(shown, tuple) else shown}")
    raise typer.Exit


def with_short_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give the command an option for each of `SHORT`, whose values it gets by keyword."""
    own = inspect.signature(command, eval_str=True)
    given = [one for one in own.parameters.values() if one.kind is not one.VAR_KEYWORD]
    parameters = [given[0], *map(_parameter, SHORT), *given[1:]]
    command.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    return command


def _parameter(short: Short) -> inspect.Parameter:
    option = typer.Option(help=short.meaning, min=short.minimum, show_default=short.default)
    return inspect.Parameter(
        short.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[short.hint | None, option],
    )


@with_short_options
def finetune(
    context: typer.Context,
    *,
    recipe: Annotated[
        str,
        typer.Option(
            help=f"{', '.join(RECIPES)}, or a TOML file.", show_default="by the size of the base"
        ),
    ] = "",
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="Another value for a field: joint.learning_rate=1e-4."),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            help="What to start from.", show_default="the champion, or the configured model"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the run.", show_default="finetune/NAME in the home"),
    ] = None,
    promote: Annotated[
        bool,
        typer.Option(
            "--promote", help="Make it the champion; exit code 1 when the rules are against it."
        ),
    ] = False,
    is_listing: Annotated[
        bool,
        typer.Option(
            "--list", help="Show the recipes and end.", callback=show_recipes, is_eager=True
        ),
    ] = False,
    as_json: JsonOption = False,
    **short: Any,
) -> None:
    """Fine-tune the embedder and register the version; the same command goes on after a kill.

    A recipe says how; docs/finetuning.md lists the fields that --set changes. On several GPUs:
    torchrun --nproc-per-node 2 --module ponder finetune ...
    """
    from embedder.finetune.training.distributed import Processes
    from ponder.finetuning.outcome import promote as promoted
    from ponder.finetuning.run import Run
    from ponder.finetuning.sharing import shared_run
    from ponder.finetuning.stages import STAGES, run_stage
    from ponder.finetuning.training import num_steps

    with failures():
        settings = context.obj
        folder = out or settings.finetunes_folder / (short["name"] or TUNED)
        with shared_run(settings, folder):
            run = Run.start(
                settings,
                folder,
                recipe=recipe,
                base=base,
                changes=short_changes(short) | assigned(changes or []),
                processes=Processes.joined(),
            )
            results: dict[str, Any] = {}
            for stage in STAGES:
                with bar(stage, num_steps(run, stage)) if run.is_first else silence() as progress:
                    results[stage] = run_stage(run, stage, progress=progress)
            Processes.leave()
    if not run.is_first:
        return
    if as_json:
        show(results, as_json)
    else:
        show({stage: results[stage] for stage in ("pairs", "selection", "register")}, as_json)
        for text in findings(results["evaluate"], metric=settings.promotion.metric):
            line(printable(text))
    if promote:
        with failures(), shared_run(settings, folder):
            promoted(run)


UNJUDGED = (
    "registered and not judged, for there is no evaluation set: a fine-tune under another --name "
    "is judged on the queries.jsonl in the folder of its --data, and on what users liked after it",
    "until then `ponder models promote NAME --force` makes it the champion",
)


def findings(evaluation: "Evaluation", *, metric: str) -> Iterator[str]:
    """Yield a line for every rule of the evaluation and for every set of later behaviour."""
    if not evaluation.sets:
        yield from UNJUDGED
        return
    for check in evaluation.checks:
        yield f"{'passed' if check.passed else 'FAILED':<8} {check.says}"
    for name, found in evaluation.behaviour.items():
        means = [f"{space} {values[metric]:.4f}" for space, values in found.metrics.items()]
        yield f"{'seen':<8} {name}: what was liked next, {metric} by space: {', '.join(means)}"

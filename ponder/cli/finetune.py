"""`ponder finetune`: from data to a registered version, in as many pieces as it is killed into."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ponder.cli.terminal import bar, failures, line, printable, show, silence
from ponder.finetuning.config import LAKE, FinetuneConfig

DEFAULTS = FinetuneConfig()


def finetune(
    context: typer.Context,
    base: Annotated[
        str | None,
        typer.Option(
            help="What to start from.", show_default="the champion, or the configured model"
        ),
    ] = None,
    data: Annotated[str, typer.Option(help="A folder to learn from, or the deployment's lake.")] = (
        LAKE
    ),
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the run.", show_default="finetune/NAME in the home"),
    ] = None,
    name: Annotated[str, typer.Option(help="Of the version, before its id.")] = DEFAULTS.name,
    before: Annotated[
        str, typer.Option(help="Later events are for evaluation.", show_default="the last tenth")
    ] = "",
    steps: Annotated[int, typer.Option(help="Steps of joint training.", min=1)] = DEFAULTS.steps,
    gate_steps: Annotated[
        int, typer.Option(help="Steps of the gate's training; 0: none.", min=0)
    ] = DEFAULTS.gate_steps,
    batch_size: Annotated[int, typer.Option(help="Pairs a step.", min=1)] = DEFAULTS.batch_size,
    max_pairs: Annotated[
        int, typer.Option(help="Pairs of each source, at most.", min=1)
    ] = DEFAULTS.max_pairs,
    learning_rate: Annotated[
        float, typer.Option(help="Peak rate of joint training.")
    ] = DEFAULTS.learning_rate,
    behaviour: Annotated[
        bool, typer.Option(help="Learn what is liked together, as a second space.")
    ] = DEFAULTS.behaviour,
    lora_rank: Annotated[
        int, typer.Option(help="Of low-rank adapters; 0 trains all weights.", min=0)
    ] = DEFAULTS.lora_rank,
    seed: Annotated[int, typer.Option(help="Decides what is drawn.")] = DEFAULTS.seed,
    promote: Annotated[
        bool,
        typer.Option(
            "--promote", help="Make it the champion; exit code 1 when the rules are against it."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Fine-tune the embedder and register the version; the same command goes on after a kill.

    On several GPUs: torchrun --nproc-per-node 2 --module ponder finetune ...
    """
    from embedder.finetune.training.distributed import Processes
    from ponder.finetuning.outcome import promote as promoted
    from ponder.finetuning.run import Run
    from ponder.finetuning.stages import STAGES, run_stage

    with failures():
        settings = context.obj
        folder = out or settings.home / "finetune" / name
        config = FinetuneConfig(
            # A run that goes on starts from what it started from, whoever is the champion now.
            base=base or Run.base_of(folder) or settings.finetune_base,
            data=data,
            name=name,
            before=before,
            steps=steps,
            gate_steps=gate_steps,
            batch_size=batch_size,
            gate_batch_size=min(batch_size, DEFAULTS.gate_batch_size),
            max_pairs=max_pairs,
            learning_rate=learning_rate,
            behaviour=behaviour,
            lora_rank=lora_rank,
            seed=seed,
        )
        run = Run.open(settings, config, folder, processes=Processes.joined())
        totals = {"joint": steps, "gate": gate_steps}
        result: dict[str, Any] = {}
        for stage in STAGES:
            with bar(stage, totals.get(stage)) if run.is_first else silence() as progress:
                result[stage] = run_stage(run, stage, progress=progress)
        Processes.leave()
    if not run.is_first:
        return
    if as_json:
        show(result, as_json)
    else:
        show({stage: result[stage] for stage in ("pairs", "selection", "register")}, as_json)
        for text in _findings(result["evaluate"], metric=settings.promotion.metric):
            line(printable(text))
    if promote:
        with failures():
            promoted(run)


def _findings(evaluated: Mapping[str, Any], *, metric: str) -> Iterator[str]:
    """What the evaluation says, a line for every rule and for every set of later behaviour."""
    for check in evaluated["checks"]:
        yield f"{'passed' if check['passed'] else 'FAILED':<8} {check['says']}"
    for name, found in evaluated["behaviour"].items():
        means = [f"{space} {values[metric]:.4f}" for space, values in found["metrics"].items()]
        yield f"{'seen':<8} {name}: what was liked next, {metric} by space: {', '.join(means)}"

"""`ponder status` and `ponder audit`: what a deployment holds, and whether it agrees."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ponder.cli.options import JsonOption
from ponder.cli.terminal import failures, line, printable, show
from ponder.json_form import json_form
from ponder.steps import status as steps

if TYPE_CHECKING:
    from catalog.audit import Finding
    from ponder.steps.audit import Audit


def status(context: typer.Context, as_json: JsonOption = False) -> None:
    """Show what the lake and the index hold, what waits, the last night, and the free disk."""
    with failures():
        show(steps.status(context.obj), as_json)


def audit(
    context: typer.Context,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what can be mended, then audit again.")
    ] = False,
    max_delete_share: Annotated[
        float,
        typer.Option(
            help="Refuse a repair that would drop a larger share of the embeddings.", min=0, max=1
        ),
    ] = 0.1,
    as_json: JsonOption = False,
) -> None:
    """Compare topics, lake, embeddings and index by key and hash; exit code 1 when they differ."""
    from ponder.steps import audit as auditing

    with failures():
        result = auditing.audit(context.obj)
        repaired = {}
        if repair:
            repaired = auditing.repair(context.obj, result, max_delete_share=max_delete_share)
        if repaired:
            result = auditing.audit(context.obj)
    advice = auditing.advice(result)
    if as_json:
        show(_agreement(result) | {"repaired": repaired, "advice": advice}, as_json)
    else:
        for finding in [*result.faults, *result.notes]:
            ids = ", ".join(finding.first)
            found = f"{finding.name:<20} {finding.where:<24} {finding.count:>8}  {ids}"
            line(printable(found))
        counts = {"agrees": not result.faults, "looked_for": len(result.findings)}
        show(counts | {"repaired": repaired, "advice": "; ".join(advice)}, as_json)
    if result.faults:
        raise typer.Exit(1)


def _agreement(found: "Audit") -> dict[str, Any]:
    """The faults and notes without what was in order."""
    return {
        "agrees": not found.faults,
        "looked_for": len(found.findings),
        "faults": [_without_kind(each) for each in found.faults],
        "notes": [_without_kind(each) for each in found.notes],
    }


def _without_kind(finding: "Finding") -> dict[str, Any]:
    return {name: value for name, value in json_form(finding).items() if name != "is_fault"}

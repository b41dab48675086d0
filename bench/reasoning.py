"""When does reasoning pay? Variants of training and gate on riddles of three tiers.

    python -m bench.reasoning --out FOLDER --seeds 0 1 2

runs every training that FOLDER does not hold yet; killed, it goes on where it was. `--table` trains
nothing: it prints the table of what is finished and writes `docs/reasoning.json` and the
figures from it. What is fixed and what the variants mean stands in docs/reasoning.md.
"""

import argparse
import json
import logging
import os
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench.reasoning_cells import cell_of, result_of, run_missing, with_parents
from bench.reasoning_plot import write_gate_plot, write_theta_plot, write_tier_plot
from bench.reasoning_report import HEADLINE, report, table_lines
from bench.reasoning_runs import Runs
from bench.reasoning_variants import VARIANTS
from bench.reasoning_world import WorldSize
from bench.run_folder import check_settings
from catalog.bazaar.rationales import MIXES
from ponder.finetuning.short_options import short_changes

SHOWN = (
    *("direct", "always_unselected", "always_selected"),
    *("adaptive", "oracle_gate", "oracle_rationale"),
)
REPORT = Path(__file__).resolve().parent.parent / "docs" / "reasoning.json"


def arguments() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--mixes", nargs="+", default=["medium"], choices=list(MIXES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, help="of every stage 1; without: the recipe's")
    parser.add_argument("--gate-steps", type=int, help="of every gate's training; likewise")
    parser.add_argument("--num-pairs", type=int, default=6_000)
    parser.add_argument("--num-candidates", type=int, default=2_000)
    parser.add_argument(
        "--num-questions", type=int, default=300, help="of each tier; composed: twice"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch")
    parser.add_argument("--device", default="cpu", help="a torch device")
    parser.add_argument("--table", action="store_true", help="of what is finished; trains nothing")
    parser.add_argument("--json", type=Path, default=REPORT, help="where --table writes")
    return parser.parse_args()


def command(args: argparse.Namespace) -> str:
    """Return the command that made the run, without where it lies."""
    given = {
        "variants": " ".join(args.variants),
        "mixes": " ".join(args.mixes),
        "seeds": " ".join(map(str, args.seeds)),
        "steps": args.steps,
        "gate-steps": args.gate_steps,
    }
    options = (f"--{name} {value}" for name, value in given.items() if value is not None)
    return f"python -m bench.reasoning {' '.join(options)}"


def commit() -> str:
    """Return the commit that is checked out, with a plus when files differ from it."""
    described = subprocess.run(
        ["git", "describe", "--always", "--exclude=*", "--dirty=+"],
        cwd=REPORT.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return described.stdout.strip()


def write_plots(args: argparse.Namespace, made: Mapping[str, Any]) -> None:
    """Draw the figures of the headline mix, beside the table; those that there is data for."""
    rows, path = made["variants"], args.json
    if shown := {name: rows[name] for name in SHOWN if name in rows}:
        write_tier_plot(path.with_name(f"{path.stem}_tiers.svg"), shown)
    if not made.get("theta_curve"):
        return
    levels = {
        name: rows[name]["overall"]["hit@1"][0]
        for name in ("direct", "always_selected", "oracle_gate")
        if name in rows
    }
    write_theta_plot(path.with_suffix(".svg"), made["theta_curve"], levels)
    logs = {}
    for seed in args.seeds:
        log = args.out / cell_of("adaptive", HEADLINE, seed).place / "gate" / "log.jsonl"
        if log.exists():
            logs[f"seed {seed}"] = [json.loads(line) for line in log.read_text().splitlines()]
    write_gate_plot(path.with_name(f"{path.stem}_gate.svg"), logs)


def main() -> None:
    """Train what is missing, or print the table."""
    args = arguments()
    if args.table:
        made = report(args.out, args.variants, args.mixes, args.seeds)
        print("\n".join(table_lines(made)))
        args.json.write_text(
            json.dumps({**made, "command": command(args), "commit": commit()}, indent=1)
        )
        write_plots(args, made)
        return
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    torch.set_num_threads(args.threads)
    size = WorldSize(
        num_pairs=args.num_pairs,
        num_candidates=args.num_candidates,
        num_questions=args.num_questions,
    )
    changes = short_changes({"steps": args.steps, "gate_steps": args.gate_steps})
    check_settings(args.out, {"size": asdict(size), "changes": changes})
    runs = Runs(args.out, size, changes=changes, device=args.device)
    cells = [
        cell_of(VARIANTS[variant].training, mix, seed)
        for seed in args.seeds
        for mix in args.mixes
        for variant in args.variants
    ]
    run_missing(args.out, with_parents(cells), partial(result_of, runs))


if __name__ == "__main__":
    main()

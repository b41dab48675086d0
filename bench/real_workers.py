"""Does reasoning by workers that nobody scripted change anything on real contents?

    python -m bench.real_workers --data FOLDER --out FOLDER --seeds 0 1 2
    python -m bench.text_endpoint --model FOLDER --port 8123 &
    python -m bench.real_workers --data FOLDER --out FOLDER --workers itself endpoint \
        --url http://localhost:8123/v1
    python -m bench.real_workers --data FOLDER --out FOLDER --only-selection \
        --workers itself_strict endpoint_strict --url http://localhost:8123/v1

`--data` is the data set `fashion_products` or `movielens_posters`. Every training is a fine-tune of
nano by the default recipe; what differs is who writes rationales about the queries: nobody, nano
itself, or an endpoint; and with `strict` whether selection also asks if a rationale about another
content would do as well. A killed run goes on; the last line is a JSON object.
"""

import argparse
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.real_contents import REAL_CONTENTS, RealContents
from bench.run_folder import check_settings
from bench.run_intervals import bootstrap_over_runs
from catalog.atomic_file import write_atomically
from embedder.content import Policy
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from evaluation.metrics import Scores
from ponder.finetuning.data_folder import Example, write_data
from ponder.finetuning.recipes import configured
from ponder.finetuning.run import Run
from ponder.finetuning.short_options import short_changes
from ponder.finetuning.stages import STAGES, run_stage
from ponder.json_form import to_json
from ponder.settings import Settings

NOBODY = "nobody"
STRICT = "_strict"
WORKERS: Mapping[str, Mapping[str, object]] = {
    NOBODY: {"rationales.num_drawn": 0, "gate": None},
    "itself": {},
    "endpoint": {"rationales.num_drawn": 0},
    "itself_strict": {"judging.against_shuffled": True},
    "endpoint_strict": {"rationales.num_drawn": 0, "judging.against_shuffled": True},
}
"""Who writes, how strictly it is selected, and what that changes in the default recipe."""

POLICIES: tuple[Policy, ...] = ("never", "auto", "always")
METRIC = "recall@10"


def options() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--workers", nargs="+", default=[NOBODY, "itself"], choices=list(WORKERS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--num-pairs", type=int, default=1_000, help="that are learned from")
    parser.add_argument("--steps", type=int, help="of joint training; without: the recipe's")
    parser.add_argument("--gate-steps", type=int, help="of the gate's; without: the recipe's")
    parser.add_argument("--url", default="", help="of the endpoint, up to /v1")
    parser.add_argument("--model", default="local", help="what the endpoint calls its model")
    parser.add_argument("--max-tokens", type=int, default=64, help="of the endpoint's rationales")
    parser.add_argument("--only-selection", action="store_true", help="tell what is kept alone")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    return parser.parse_args()


def settings(args: argparse.Namespace, worker: str, home: Path) -> Settings:
    """Return the deployment's settings, the endpoint among them where it writes."""
    if not worker.startswith("endpoint"):
        return Settings(home=home, device="cpu")
    return Settings(
        home=home,
        device="cpu",
        reasoner=f"openai:{args.model}",
        reasoner_url=args.url,
        reasoner_max_tokens=args.max_tokens,
        reasoner_timeout_s=600,
        reasoner_concurrency=16,
    )


def opened(args: argparse.Namespace, worker: str, seed: int, data: Path) -> Run:
    """Return the run of a worker and seed, with what it has done so far.

    Nobody is asked twice: a strict run starts with what the same writer wrote for the other, and
    the endpoint's answers serve all seeds, as they would in a deployment's lake.
    """
    folder, writer = args.out / worker / f"seed{seed}", worker.removesuffix(STRICT)
    asked_for = args.seeds[0] if writer == "endpoint" else seed
    written = args.out / writer / f"seed{asked_for}" / "data"
    if written.exists() and not (folder / "data").exists():
        shutil.copytree(written, folder / "data")
    short = short_changes({"steps": args.steps, "gate_steps": args.gate_steps})
    told = {"base": "nano", "data": str(data), "seed": seed, "pairs.sources": ("given",)}
    config = configured({**short, **told, **WORKERS[worker]})
    return Run.open(settings(args, worker, args.out / worker), config, folder)


def run_until(run: Run, last: str) -> None:
    """Run the stages up to one; what is done is not done again."""
    for name in list(STAGES)[: list(STAGES).index(last) + 1]:
        run_stage(run, name)


def selected(run: Run) -> dict[str, Any]:
    """Return what selection says: by writer how many were written, refused and kept."""
    run_until(run, "selection")
    found: dict[str, Any] = json.loads((run.folder / "selection" / "selection.json").read_text())
    return found


def answers(run: Run, worker: str, contents: RealContents) -> dict[str, Any]:
    """Return METRIC of every question by policy, and what the gate did, of a trained run."""
    run_until(run, "gate")
    last = "joint" if worker == NOBODY else "gate"
    encoder = MMEmbR1(run.load(run.version(last)), EmbedderConfig(policy="never", device="cpu"))
    asked = contents.asked
    items_ND = np.stack([one.vector for one in encoder.encode_items([*asked.contents.values()])])
    found: dict[str, Any] = {}
    for policy in POLICIES[:1] if worker == NOBODY else POLICIES:
        encodings = encoder.encode_query(asked.query_contents, policy=policy)
        scores: Scores = asked.evaluate(np.stack([one.vector for one in encodings]), items_ND)
        found[policy] = scores[METRIC].tolist()
        if policy == "auto":
            found["reason_rate"] = float(np.mean([one.action == "reason" for one in encodings]))
        if policy == "always":
            found["examples"] = [(one.rationale, one.summary) for one in encodings[:5]]
    return found


def account(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Return by worker what was kept, METRIC by policy, and the differences to nobody's rationales.

    Args:
        results: by worker what `selected` and `answers` returned for every seed; without answers
            nothing is told of METRIC, and with some nobody's are among them.
    """
    told: dict[str, Any] = {}
    for worker, runs in results.items():
        rows = [row for one in runs for row in one["selection"]["workers"]]
        rates = [one["reason_rate"] for one in runs if "reason_rate" in one]
        told[worker] = {**_kept(rows), "reason_rate": rates}
        for policy in POLICIES:
            if policy not in runs[0]:
                continue
            values_RQ = [np.array(one[policy]) for one in runs]
            direct_RQ = [np.array(one["never"]) for one in results[NOBODY]]
            gained = [a - b for a, b in zip(values_RQ, direct_RQ, strict=True)]
            told[worker][policy] = {
                METRIC: round(float(np.mean([v.mean() for v in values_RQ])), 4),
                "over_nobody": asdict(bootstrap_over_runs(gained)),
            }
    return told


def _kept(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what selections say of writers, added up; `own_better` is a share of `compared`."""
    names = {"written": "paired", "refused": "refused", "kept": "kept", "compared": "compared"}
    told = {name: sum(row[of] for row in rows) for name, of in names.items()}
    better = sum(row["compared"] * row["own_better"] for row in rows if row["compared"])
    return {**told, "own_better": round(better / told["compared"], 4) if better else None}


def main() -> None:
    """Train what is missing, ask, and tell."""
    args = options()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    torch.set_num_threads(args.threads)
    contents = REAL_CONTENTS[args.data.name](args.data)
    size = {"data": args.data.name, "num_pairs": args.num_pairs}
    check_settings(args.out, {**size, "steps": args.steps, "gate_steps": args.gate_steps})
    data = args.out / "data"
    if not (data / "items.parquet").exists():
        write_data(data, [Example(pair) for pair in contents.pairs[: args.num_pairs]])
    workers = args.workers if args.only_selection else dict.fromkeys((NOBODY, *args.workers))
    results: dict[str, list[dict[str, Any]]] = {worker: [] for worker in workers}
    for seed in args.seeds:
        for worker in workers:
            run = opened(args, worker, seed, data)
            results[worker].append({"selection": selected(run)})
            path = args.out / worker / f"answers{seed}.json"
            if not args.only_selection and not path.exists():
                write_atomically(path, to_json(answers(run, worker, contents)))
            if not args.only_selection:
                results[worker][-1] = {**json.loads(path.read_text()), **results[worker][-1]}
    told = account(results)
    print(json.dumps({"metric": METRIC, "num_questions": len(contents.asked.queries), **told}))


if __name__ == "__main__":
    main()

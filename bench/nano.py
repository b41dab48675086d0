"""What a version answers in worlds of riddles that it was not trained on, by tier and policy.

    OMP_NUM_THREADS=1 python -m bench.nano --seeds 0 1 2 --figure docs/nano_tiers.svg

trains nothing. It prints hit@1 as mean and sample standard deviation over the worlds, the share
that the gate reasons about, and the seconds of each policy; the last line is all of it as JSON.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from bench.reasoning_outcomes import outcomes
from bench.reasoning_plot import write_tier_plot
from bench.reasoning_report import GROUPS, mean_and_sd, measures
from bench.reasoning_variants import Asking
from bench.reasoning_world import WorldSize, world
from embedder.model.checkpoint import load

ASKED: Mapping[str, Asking] = {
    "never": "direct",
    "auto": "auto",
    "always": "reasoned",
    "given": "given",
}
"""By the name of a row: how the questions are asked; `given`: with the right rationale."""


def asked(model: str, seeds: Sequence[int], size: WorldSize) -> dict[str, Any]:
    """Return by policy and tier [mean, s.d.] of hit@1, the rate of reasoning, and seconds."""
    checkpoint = load(model)
    results = []
    for seed in seeds:
        answers, seconds = outcomes(checkpoint, world(seed, size))
        theta = checkpoint.manifest.theta
        results.append({"theta": theta, "outcomes": answers, "seconds": seconds})
    found: dict[str, Any] = {}
    for name, asking in ASKED.items():
        measured = [measures(result, asking) for result in results]
        found[name] = {
            group: {
                "hit@1": mean_and_sd([one[group]["hit@1"] for one in measured]),
                "reason_rate": fmean(one[group]["reason_rate"] for one in measured),
                "right_summaries": fmean(one[group]["right_summaries"] for one in measured),
            }
            for group in GROUPS
        }
        found[name]["seconds"] = [one["seconds"] for one in measured]
    return found


def main() -> None:
    """Ask, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="nano", help="a version")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of the worlds")
    parser.add_argument("--num-candidates", type=int, default=2_000)
    parser.add_argument("--num-questions", type=int, default=300, help="of a tier")
    parser.add_argument("--figure", type=Path, help="an SVG of hit@1 by tier")
    args = parser.parse_args()
    torch.set_num_threads(1)
    size = WorldSize(
        num_pairs=1, num_candidates=args.num_candidates, num_questions=args.num_questions
    )
    found = asked(args.model, args.seeds, size)
    for name, row in found.items():
        hits = "  ".join(
            f"{group} {row[group]['hit@1'][0]:.3f} ± {row[group]['hit@1'][1] or 0:.3f}"
            for group in GROUPS
        )
        print(f"{name:<8}{hits}  reasons {row['overall']['reason_rate']:.2f}  {row['seconds']}")
    if args.figure:
        write_tier_plot(args.figure, {name: found[name] for name in ("never", "auto", "always")})
    print(json.dumps(found))


if __name__ == "__main__":
    main()

"""The table of the reasoning benchmark, and what else is read off the outcomes of its cells."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from bench.reasoning_cells import cell_of
from bench.reasoning_outcomes import Outcome, is_reasoned, rank
from bench.reasoning_variants import VARIANTS, Asking
from bench.run_intervals import bootstrap_over_runs
from catalog.bazaar.riddles import TIERS

HEADLINE = "medium"
GROUPS = (*TIERS, "overall")
SECONDS: Mapping[Asking, str] = {"direct": "never", "auto": "auto", "reasoned": "always"}
"""By asking, the policy that takes as long; oracles have no time of their own, and that of items
is not a question's."""

PAIRINGS: Mapping[str, str] = {
    "direct_direct": "rank_direct",
    "reason_direct": "rank_reasoned",
    "direct_reason": "rank_direct_reason",
    "reason_reason": "rank_reason_reason",
}
"""By how queries and items are embedded, in this order, the rank."""

COMPARED = (
    ("always_selected", "always_unselected"),
    ("adaptive", "direct"),
    ("adaptive", "always_selected"),
    ("adaptive", "oracle_gate"),
    ("one_worker", "always_selected"),
    ("shuffled_control", "always_selected"),
    ("plain_delta", "adaptive"),
    ("no_forced_groups", "adaptive"),
    ("closed_form", "adaptive"),
    ("trains_tokens", "adaptive"),
    ("readout_before", "always_selected"),
    ("readout_mean", "always_selected"),
    ("both_sides", "both_sides_no_cross_mode"),
    ("unified_layers", "always_selected"),
    ("unified_layers_direct", "selected_direct"),
    ("unified_layers_auto", "selected_auto"),
    ("unified_pooler", "unified_layers"),
)

Measured = Mapping[str, Mapping[int, dict[str, Any]]]
"""By variant and seed, what `measures` says."""


def report(
    folder: Path, variants: Sequence[str], mixes: Sequence[str], seeds: Sequence[int]
) -> dict[str, Any]:
    """Return what is finished, as docs/reasoning.json has it; the medium mix is the headline."""
    by_mix = {mix: mix_report(folder, variants, mix, seeds) for mix in mixes}
    return {**by_mix.get(HEADLINE, {"variants": {}}), "seeds": list(seeds), "mixes": by_mix}


def mix_report(
    folder: Path, variants: Sequence[str], mix: str, seeds: Sequence[int]
) -> dict[str, Any]:
    """Rows, paired differences, theta curve and gains of one mix."""
    measured: dict[str, dict[int, dict[str, Any]]] = {}
    adaptive, gains = [], []
    selected: dict[int, Sequence[Outcome]] = {}
    reinforced: dict[int, tuple[Sequence[Outcome], str]] = {}
    for name in variants:
        for seed in seeds:
            variant = VARIANTS[name]
            path = folder / cell_of(variant.training, mix, seed).place / "result.json"
            if not path.exists():
                continue
            result = json.loads(path.read_text())
            measured.setdefault(name, {})[seed] = measures(result, variant.asking)
            if name == "adaptive":
                adaptive.append(result["outcomes"])
            if name == "always_selected":
                gains += result["gains"]
                selected[seed] = result["outcomes"]
            if name == "trains_tokens":
                log = path.with_name("gate") / "log.jsonl"
                reinforced[seed] = result["outcomes"], log.read_text() if log.exists() else ""
    return {
        "variants": {name: row(list(by_seed.values())) for name, by_seed in measured.items()},
        "differences": differences(measured),
        "theta_curve": theta_curve(adaptive),
        "gains": gain_effects(gains),
        "drift": [
            drift(selected[seed], *reinforced[seed]) for seed in sorted({*selected} & {*reinforced})
        ],
    }


def drift(before: Sequence[Outcome], after: Sequence[Outcome], log: str) -> dict[str, Any]:
    """Return how far rationales whose tokens were rewarded have moved, of one seed.

    Args:
        before: outcomes of the model that the training started from.
        after: of the trained one, in the same order.
        log: of the training; its last line has the mean divergence (nats a token) from the start.
    """
    lines = [json.loads(line) for line in log.splitlines()]
    changed = [
        one["rationale"] != other["rationale"] for one, other in zip(before, after, strict=True)
    ]
    return {
        "changed": round(fmean(changed), 4),
        "token_kl": lines[-1].get("gate/query/token_kl") if lines else None,
        "summaries_before": _right(before),
        "summaries_after": _right(after),
    }


def _right(found: Sequence[Outcome]) -> float:
    return round(fmean(one["summary"] == one["right_summary"] for one in found), 4)


def measures(result: Mapping[str, Any], asking: Asking) -> dict[str, Any]:
    """Return of one seed by group shares of questions, and the seconds that all of them take.

    `right_summaries` is about what the model writes when it must, however it is asked.
    """
    theta, found = result["theta"], result["outcomes"]
    measured: dict[str, Any] = {
        "seconds": result["seconds"].get(SECONDS.get(asking)),
        "trained_s": result.get("trained_s"),
    }
    for group in GROUPS:
        rows = [one for one in found if group in ("overall", one["tier"])]
        hits = [rank(one, asking, theta=theta) == 1 for one in rows]
        measured[group] = {
            "hits": hits,
            "hit@1": fmean(hits),
            "reason_rate": fmean(is_reasoned(one, asking, theta=theta) for one in rows),
            "right_summaries": fmean(one["summary"] == one["right_summary"] for one in rows),
            "pairings": {
                name: fmean(one[rank_name] == 1 for one in rows)
                for name, rank_name in PAIRINGS.items()
                if PAIRINGS["reason_reason"] in rows[0]
            },
        }
    return measured


def row(measured: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a variant's [mean, sample s.d.] over seeds; the s.d. of one seed is None."""
    made: dict[str, Any] = {
        group: {
            "hit@1": mean_and_sd([one[group]["hit@1"] for one in measured]),
            "reason_rate": round(fmean(one[group]["reason_rate"] for one in measured), 4),
            "right_summaries": round(fmean(one[group]["right_summaries"] for one in measured), 4),
        }
        for group in GROUPS
    }
    if measured[0]["overall"]["pairings"]:
        for group in GROUPS:
            made[group]["pairings"] = {
                name: mean_and_sd([one[group]["pairings"][name] for one in measured])
                for name in PAIRINGS
            }
    seconds = [one["seconds"] for one in measured]
    made["reason_rate"] = made["overall"]["reason_rate"]
    made["seconds"] = None if None in seconds else round(fmean(seconds), 3)
    trained_s = [one["trained_s"] for one in measured]
    made["trained_s"] = None if None in trained_s else round(fmean(trained_s), 1)
    made["num_seeds"] = len(measured)
    return made


def mean_and_sd(values: Sequence[float]) -> list[float | None]:
    """Return [mean, sample standard deviation]; None for the deviation of a single value."""
    return [round(fmean(values), 4), round(stdev(values), 4) if len(values) > 1 else None]


def differences(measured: Measured) -> dict[str, dict[str, dict[str, Any]]]:
    """Return by names and group the paired difference in hit@1 over the seeds that both have.

    `by_seed` has one number a seed; `mean` and `interval` are over seeds and, within each, over its
    questions (`bench.run_intervals`).
    """
    found = {}
    for one, other in COMPARED:
        seeds = sorted({*measured.get(one, ())} & {*measured.get(other, ())})
        if seeds:
            found[f"{one} - {other}"] = {
                group: _difference(
                    [measured[one][seed][group]["hits"] for seed in seeds],
                    [measured[other][seed][group]["hits"] for seed in seeds],
                )
                for group in GROUPS
            }
    return found


def _difference(ones: Sequence[Sequence[bool]], others: Sequence[Sequence[bool]]) -> dict[str, Any]:
    apart_SQ = [
        np.array(one, dtype=float) - np.array(other, dtype=float)
        for one, other in zip(ones, others, strict=True)
    ]
    over_seeds = bootstrap_over_runs(apart_SQ)
    return {
        "by_seed": [round(float(apart_Q.mean()), 4) for apart_Q in apart_SQ],
        "mean": round(over_seeds.mean, 4),
        "interval": [round(over_seeds.low, 4), round(over_seeds.high, 4)],
    }


def theta_curve(runs: Sequence[Sequence[Outcome]]) -> list[dict[str, float]]:
    """Return rate of reasoning and hit@1 of the adaptive model by theta, means over the seeds."""
    every = [outcome for run in runs for outcome in run]
    if not every:
        return []
    thetas = [step / 20 for step in range(21)] + [1.01]  # the last one: nothing is reasoned about
    return [
        {
            "theta": theta,
            "reason_rate": round(fmean(is_reasoned(one, "auto", theta=theta) for one in every), 4),
            "hit@1": round(fmean(rank(one, "auto", theta=theta) == 1 for one in every), 4),
        }
        for theta in thetas
    ]


def gain_effects(gains: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return how many rationales were kept and refused, and shares that moved the rank up or down.

    `spearman` is the rank correlation of the gain with log(rank_direct / rank_given).
    """
    rows = list(gains)
    found: dict[str, Any] = {}
    for name, chosen in (
        ("kept", [one for one in rows if one["kept"]]),
        ("refused", [one for one in rows if not one["kept"]]),
    ):
        if chosen:
            found[name] = {
                "num": len(chosen),
                "up": round(fmean(one["rank_given"] < one["rank_direct"] for one in chosen), 4),
                "down": round(fmean(one["rank_given"] > one["rank_direct"] for one in chosen), 4),
            }
    if len(found) == 2:
        moved = [one["rank_direct"] / one["rank_given"] for one in rows]
        correlation = spearmanr([one["gain"] for one in rows], moved).statistic
        found["spearman"] = round(float(correlation), 4)
    return found


def table_lines(made: Mapping[str, Any]) -> list[str]:
    """Return the report as Markdown."""
    lines = []
    for mix, of_mix in made["mixes"].items():
        lines += [f"**{mix}**", "", f"| variant | {' | '.join(GROUPS)} "]
        lines[-1] += "| reasons (literal, composed) | seconds | seeds |"
        lines.append("|---" * (len(GROUPS) + 4) + "|")
        for name, one in of_mix["variants"].items():
            hits = " | ".join(_hit(one[group]["hit@1"]) for group in GROUPS)
            rates = [one["reason_rate"]] + [one[g]["reason_rate"] for g in ("literal", "composed")]
            rate = "{:.2f} ({:.2f}, {:.2f})".format(*rates)
            lines.append(f"| {name} | {hits} | {rate} | {one['seconds']} | {one['num_seeds']} |")
        lines.append("")
        for pair, by_group in of_mix["differences"].items():
            told = ", ".join(
                f"{group} {one['mean']:+.3f} {one['interval']} {one['by_seed']}"
                for group, one in by_group.items()
            )
            lines.append(f"- {pair}: {told}")
        lines += ["", f"Gains: {json.dumps(of_mix['gains'])}", ""]
    return lines


def _hit(mean_sd: Sequence[float | None]) -> str:
    mean, sd = mean_sd
    return f"{mean:.3f}" if sd is None else f"{mean:.3f} ± {sd:.3f}"

"""The variants of the reasoning benchmark: what is changed in the recipe, and how each is asked.

A training is what a variant's model comes from; variants that differ only in how they are asked
share one. All else is the recipe `reasoning`, the default of `ponder finetune`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ponder.finetuning.recipes import RECIPES

Asking = Literal["direct", "reasoned", "both", "auto", "better", "given"]
"""direct: never reason. reasoned: always. both: always, about items as well. auto: as the gate says
at the version's theta. better: per question whichever of direct and reasoned finds the answer (an
oracle). given: the right rationale is handed to the model (an oracle)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """Where a model comes from."""

    last: Literal["joint", "embedding_head", "gate"] = "joint"
    """The stage whose version is asked."""

    parent: str = ""
    """The training whose run this one goes on from; empty: it starts with the data."""

    shared: str = ""
    """The last stage of the parent's that it takes over."""

    changes: Mapping[str, object] = field(default_factory=dict)
    """Other values than the recipe's, by option."""

    has_rationales: bool = True
    """Whether anybody writes any; without, the worker mix makes no difference."""

    is_shuffled: bool = False
    """Whether the rationales that selection kept are dealt out to other pairs."""

    @property
    def has_reasoned_items(self) -> bool:
        """Whether items learn to reason too."""
        return "item" in self.changes.get("rationales.sides", ())


BOTH_SIDES: Mapping[str, object] = {"rationales.sides": ("query", "item")}
NO_CROSS_MODE: Mapping[str, object] = {
    "joint.loss.reason_direct": 0.0,
    "joint.loss.direct_reason": 0.0,
}
UNIFIED: Mapping[str, object] = {
    option: value
    for option, value in RECIPES["unified"].values.items()
    if (option, value) not in RECIPES["reasoning"].values.items()
}
"""What the recipe `unified` changes. Its steps are shared out between a reasoner and the head over
it, so that together they make as many as joint training, on as many examples each."""

POOLER: Mapping[str, object] = {
    "embedding_head.kind": "pooler",
    "embedding_head.learning_rate": 1e-2,  # at a tenth it had learnt nothing where layers had
}

TRAININGS: Mapping[str, Training] = {
    "direct": Training(has_rationales=False),
    "unselected": Training(
        parent="selected", shared="rationales", changes={"selection.keeps": "all"}
    ),
    "selected": Training(),
    "adaptive": Training(last="gate", parent="selected", shared="joint"),
    "both_sides": Training(parent="selected", shared="behaviour", changes=BOTH_SIDES),
    "both_sides_no_cross_mode": Training(
        parent="both_sides", shared="selection", changes={**BOTH_SIDES, **NO_CROSS_MODE}
    ),
    "one_worker": Training(
        parent="selected", shared="judging", changes={"selection.workers": ("writer-0",)}
    ),
    "shuffled_control": Training(parent="selected", shared="selection", is_shuffled=True),
    "plain_delta": Training(
        last="gate", parent="selected", shared="joint", changes={"gate.rewards.score": "cosine"}
    ),
    "no_forced_groups": Training(
        last="gate", parent="selected", shared="joint", changes={"gate.forces_both": False}
    ),
    "closed_form": Training(
        last="gate", parent="selected", shared="joint", changes={"gate.estimator": "closed_form"}
    ),
    **{
        f"readout_{where}": Training(
            parent="selected", shared="selection", changes={"readout": where}
        )
        for where in ("before", "mean")
    },
    "unified_layers": Training(
        last="embedding_head", parent="selected", shared="selection", changes=UNIFIED
    ),
    "unified_pooler": Training(
        last="embedding_head", parent="unified_layers", shared="joint", changes=UNIFIED | POOLER
    ),
    "trains_tokens": Training(
        last="gate", parent="selected", shared="joint", changes={"gate.train_tokens": True}
    ),
}


@dataclass(frozen=True, slots=True)
class Variant:
    """A row of the table."""

    training: str
    asking: Asking


VARIANTS: Mapping[str, Variant] = {
    "direct": Variant("direct", "direct"),
    "always_unselected": Variant("unselected", "reasoned"),
    "always_selected": Variant("selected", "reasoned"),
    "adaptive": Variant("adaptive", "auto"),
    "oracle_gate": Variant("selected", "better"),
    "oracle_rationale": Variant("selected", "given"),
    "both_sides": Variant("both_sides", "both"),
    "both_sides_no_cross_mode": Variant("both_sides_no_cross_mode", "both"),
    "one_worker": Variant("one_worker", "reasoned"),
    "shuffled_control": Variant("shuffled_control", "reasoned"),
    "plain_delta": Variant("plain_delta", "auto"),
    "no_forced_groups": Variant("no_forced_groups", "auto"),
    "closed_form": Variant("closed_form", "auto"),
    "readout_before": Variant("readout_before", "reasoned"),
    "readout_mean": Variant("readout_mean", "reasoned"),
    "unified_layers": Variant("unified_layers", "reasoned"),
    "unified_pooler": Variant("unified_pooler", "reasoned"),
    "selected_direct": Variant("selected", "direct"),
    "unified_layers_direct": Variant("unified_layers", "direct"),
    "selected_auto": Variant("selected", "auto"),
    "unified_layers_auto": Variant("unified_layers", "auto"),
    "trains_tokens": Variant("trains_tokens", "auto"),
}
"""Ablations of stage 1 are asked as `always_selected` is, those of stage 2 as `adaptive` is. The
gate of `selected` and `unified_layers` has learnt from labels alone, and is asked as that."""

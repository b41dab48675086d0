"""A fine-tune as stages in their order; what the command line and the DAG call.

Every stage is a function of a run. It is skipped when it is done, and a killed one goes on where it
stopped, on another machine where the last state that was brought to the store stands.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ponder.finetuning import (
    balance,
    behaviour,
    gathering,
    heads,
    negatives,
    outcome,
    rationales,
    selection,
    training,
    vocabulary,
)
from ponder.finetuning.results import (
    BalancedSources,
    ComputedFeatures,
    Evaluation,
    FinishedTraining,
    GatheredLikes,
    GatheredPairs,
    JudgedRationales,
    LearnedVocabulary,
    MinedNegatives,
    RegisteredVersion,
    Result,
    SelectedRationales,
    WrittenRationales,
)
from ponder.finetuning.run import Progress, Run
from ponder.finetuning.sharing import bringing_back
from ponder.telemetry.observation import observe


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a fine-tune."""

    function: Callable[[Run, Progress], Result]

    result: type[Result]
    """What it has to say."""

    is_shared: bool = False
    """Whether all processes of a run do it together; else the first does and the others wait."""


STAGES: Mapping[str, Stage] = {
    "pairs": Stage(gathering.gather, GatheredPairs),
    "vocabulary": Stage(vocabulary.extend, LearnedVocabulary),
    "balance": Stage(balance.balance, BalancedSources),
    "negatives": Stage(negatives.mine, MinedNegatives),
    "behaviour": Stage(behaviour.gather_likes, GatheredLikes),
    "rationales": Stage(rationales.write, WrittenRationales),
    "judging": Stage(selection.judge, JudgedRationales),
    "selection": Stage(selection.select, SelectedRationales),
    "features": Stage(heads.compute_features, ComputedFeatures),
    "joint": Stage(training.train_joint, FinishedTraining, is_shared=True),
    "embedding_head": Stage(training.train_embedding_head, FinishedTraining, is_shared=True),
    "fresh_negatives": Stage(negatives.mine_again, MinedNegatives),
    "gate": Stage(training.train_gate, FinishedTraining),
    "evaluate": Stage(outcome.evaluate, Evaluation),
    "register": Stage(outcome.register, RegisteredVersion),
}


def run_stage(run: Run, name: str, *, progress: Progress = lambda done: None) -> Result:
    """Return what a stage has to say, after running it unless it is done.

    Args:
        run: whose earlier stages are done.
        name: of `STAGES`.
        progress: told how much more is done, in units of the stage.
    """
    stage = STAGES[name]
    if not run.is_done(name):
        if run.is_first:
            with observe(run.settings, f"finetune_{name}") as seen:
                found = seen.result = stage.function(run, bringing_back(run, progress))
                run.finish(name, found)
        elif stage.is_shared:
            stage.function(run, progress)
    run.wait()
    return run.result(name, stage.result)

"""A fine-tune as stages in their order; what the command line and the DAG call.

Every stage is a function of a run. It is skipped when it is done, and a killed one goes on where it
stopped.
"""

from collections.abc import Callable, Mapping

from ponder.finetuning import behaviour, gathering, negatives, outcome, reasoning, training
from ponder.finetuning.run import Counts, Progress, Run

Stage = Callable[[Run, Progress], Counts]

STAGES: Mapping[str, Stage] = {
    "pairs": gathering.gather,
    "negatives": negatives.mine,
    "behaviour": behaviour.gather_likes,
    "rationales": reasoning.write,
    "selection": reasoning.select,
    "joint": training.train_joint,
    "fresh_negatives": negatives.mine_again,
    "gate": training.train_gate,
    "evaluate": outcome.evaluate,
    "register": outcome.register,
}


SHARED = {"joint"}
"""What all processes of a run do together; the first one does the rest and the others wait."""


def run_stage(run: Run, name: str, *, progress: Progress = lambda done: None) -> Counts:
    """What a stage has to say, after running it unless it is done.

    Args:
        run: whose earlier stages are done.
        name: of `STAGES`.
        progress: told how much more is done, in units of the stage.
    """
    if run.done(name) is None and (run.is_first or name in SHARED):
        found = STAGES[name](run, progress)
        if run.is_first:
            run.finish(name, found)
    run.wait()
    counts = run.done(name)
    assert counts is not None
    return counts

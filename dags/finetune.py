"""Fine-tune the embedder, and embed everything anew when the new version is better.

**Reads** the lake, or the folder that the parameter `data` names; the frozen evaluation sets; the
version to start from, which is the champion unless the parameter `base` names another.

**Writes** a folder of the run below `finetune` in the home, the registry of versions, and the
champion when the rules of promotion are for it. Every stage is skipped when it is done and goes on
where it was killed, so a retry loses little. With `PONDER_MODEL=registry:champion` the new champion
is embedded and served by `reembed`, which waits for the asset `champion`.

**Logic** `ponder.finetuning.stages`, one stage per task.
"""

import re
from contextlib import contextmanager
from datetime import timedelta

from airflow.sdk import Asset, Param, chain, dag, task
from airflow.sdk.exceptions import AirflowSkipException
from task_rules import on_gpu, task_rules

CHAMPION = Asset("champion")

STAGES = (
    *("pairs", "vocabulary", "balance", "negatives", "behaviour", "rationales", "judging"),
    *("selection", "features", "joint", "embedding_head", "fresh_negatives", "gate", "evaluate"),
    "register",
)

# `ponder.finetuning.short_options.SHORT`, held to it by a test; a DAG file loads nothing of ponder.
OPTIONS = (
    ("data", "string", "A folder, or lake: what the deployment has.", None),
    ("name", "string", "Of the version, before its id.", None),
    ("before", "string", "Later events are for evaluation.", None),
    ("steps", "integer", "Steps of joint training.", 1),
    ("gate_steps", "integer", "Steps of the gate's training; 0: none.", 0),
    ("batch_size", "integer", "Pairs a step of joint training.", 1),
    ("gate_batch_size", "integer", "Pairs a step of the gate's.", 1),
    ("max_pairs", "integer", "Pairs of each source, at most.", 1),
    ("learning_rate", "number", "Peak rate of joint training.", None),
    ("behaviour", "boolean", "Learn what is liked together as a space.", None),
    ("judge", "string", "self, yes_no:MODEL, endpoint or endpoint:MODEL.", None),
    ("lora_rank", "integer", "Of low-rank adapters; 0 trains all weights.", 0),
    ("seed", "integer", "Decides what is drawn.", None),
)


def param(kind, title, minimum):
    """A parameter that is left to the recipe unless it is set."""
    limits = {} if minimum is None else {"minimum": minimum}
    return Param(None, type=["null", kind], title=title, **limits)


@contextmanager
def opened_run(params, run_id):
    """Open the run of a DAG run, and share what changes in it."""
    from ponder.finetuning.options import assigned
    from ponder.finetuning.run import Run
    from ponder.finetuning.sharing import shared_run
    from ponder.finetuning.short_options import short_changes
    from ponder.settings_sources import load_settings

    settings = load_settings()
    folder = settings.finetunes_folder / re.sub(r"\W+", "-", run_id)
    with shared_run(settings, folder):
        yield Run.start(
            settings,
            folder,
            recipe=params["recipe"] or "",
            base=params["base"] or None,
            changes=short_changes(params) | assigned(params["set"]),
        )


@dag(
    schedule=None,  # started by hand, or by whoever knows that there is enough to learn
    catchup=False,
    max_active_runs=1,
    default_args=task_rules(timeout=timedelta(hours=24)),
    params={
        "base": Param(None, type=["null", "string"], title="Start from; empty: the champion"),
        "recipe": Param(
            None, type=["null", "string"], title="Name or TOML file; empty: by the base's size"
        ),
        "set": Param([], type="array", title="Other fields, e.g. joint.warmup_steps=10"),
        **{name: param(*described) for name, *described in OPTIONS},
    },
    tags=["ponder"],
    doc_md=__doc__,
)
def finetune():
    def stage(name):
        @task(task_id=name, doc_md=f"The stage `{name}`; see docs/finetuning.md.", **on_gpu())
        def run(params=None, run_id=None):
            from ponder.finetuning.stages import run_stage
            from ponder.json_form import json_form

            # What a stage has to say, the verdict of `evaluate` above all, is seen with the task.
            with opened_run(params, run_id) as opened:
                return json_form(run_stage(opened, name))

        return run()

    @task
    def promote(params=None, run_id=None):
        """Make the version the champion when the rules of promotion are for it."""
        from ponder.finetuning.outcome import PromotionRefused
        from ponder.finetuning.outcome import promote as promoted

        with opened_run(params, run_id) as run:
            try:
                chosen = promoted(run)
            except PromotionRefused as refusal:
                raise AirflowSkipException(str(refusal)) from refusal
            return {"champion": chosen, "model": run.settings.model}

    @task(outlets=[CHAMPION])
    def follows_champion(promoted):
        """Say so, for what is embedded to follow."""
        if promoted["model"] != "registry:champion":
            raise AirflowSkipException(
                f"{promoted['champion']} is the champion, but PONDER_MODEL is "
                f"{promoted['model']!r} and not registry:champion: nothing is embedded anew"
            )

    promoted = promote()
    chain(*map(stage, STAGES), promoted, follows_champion(promoted))


finetune()

"""Fine-tune the embedder, and embed everything anew when the new version is better.

**Reads** the lake, or the folder that the parameter `data` names; the frozen evaluation sets; the
version to start from, which is the champion unless the parameter `base` names another.

**Writes** a folder of the run below `finetune` in the home, the registry of versions, and the
champion when the rules of promotion are for it. Every stage is skipped when it is done and goes on
where it was killed, so a retry loses little. With `PONDER_MODEL=registry:champion` the new champion
is embedded and served by the run of `nightly` that is then triggered.

**Logic** `ponder.finetuning.stages`, one stage per task.
"""

import re
from datetime import timedelta

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import Param, chain, dag, task
from airflow.sdk.exceptions import AirflowSkipException

STAGES = (
    *("pairs", "negatives", "behaviour", "rationales", "selection"),
    *("joint", "fresh_negatives", "gate", "evaluate", "register"),
)


def open_run(params, run_id):
    from ponder.finetuning.config import FinetuneConfig
    from ponder.finetuning.run import Run
    from ponder.settings_sources import load_settings

    settings = load_settings()
    folder = settings.home / "finetune" / re.sub(r"\W+", "-", run_id)
    asked = {name: value for name, value in params.items() if name != "base"}
    # What a run starts from stays, though the champion may change before its last retry.
    base = params["base"] or Run.base_of(folder) or settings.finetune_base
    return Run.open(settings, FinetuneConfig(base=base, **asked), folder)


@dag(
    schedule=None,  # started by hand, or by whoever knows that there is enough to learn
    catchup=False,
    max_active_runs=1,
    default_args={
        "retries": 2,
        "retry_delay": timedelta(minutes=5),
        "execution_timeout": timedelta(hours=24),
    },
    params={
        "base": Param("", type="string", title="Start from; empty: the champion"),
        "data": Param("lake", type="string", title="`lake`, or a folder"),
        "name": Param("tuned", type="string", title="Name of the version"),
        "steps": Param(1_000, type="integer", minimum=1),
        "gate_steps": Param(100, type="integer", minimum=0),
        "batch_size": Param(32, type="integer", minimum=1),
        "gate_batch_size": Param(16, type="integer", minimum=1),
        "behaviour": Param(True, type="boolean", title="Learn a behaviour space as well"),
        "lora_rank": Param(0, type="integer", minimum=0),
    },
    tags=["ponder"],
    doc_md=__doc__,
)
def finetune():
    def stage(name):
        @task(task_id=name, pool="gpu")
        def run(params=None, run_id=None):
            from ponder.finetuning.stages import run_stage

            run_stage(open_run(params, run_id), name)

        return run()

    @task
    def promote(params=None, run_id=None):
        from ponder.finetuning.outcome import PromotionRefused
        from ponder.finetuning.outcome import promote as promoted

        run = open_run(params, run_id)
        try:
            chosen = promoted(run)
        except PromotionRefused as refusal:
            raise AirflowSkipException(str(refusal)) from refusal
        if run.settings.model != "registry:champion":
            raise AirflowSkipException(
                f"{chosen['champion']} is the champion, but PONDER_MODEL is {run.settings.model!r} "
                "and not registry:champion: nothing is embedded anew"
            )

    embed_anew = TriggerDagRunOperator(task_id="embed_anew", trigger_dag_id="nightly")
    chain(*map(stage, STAGES), promote(), embed_anew)


finetune()

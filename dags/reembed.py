"""Change the model: embed everything with another one, and serve it when it is valid.

**Reads** the lake. The parameter `to` names the version, as `ponder reembed --to` takes it; empty,
it is the configured one. Started when the asset `champion` is updated, as `finetune` does when
`PONDER_MODEL=registry:champion` makes a new champion the configured one; or by hand.

**Writes** embeddings, and a Milvus collection beside the live one, which goes on answering until
the new one has caught up with what landed meanwhile and is valid. Every task finds what is left to
do, so a retry does nothing twice. Nothing is landed.

**Logic** `ponder.steps.reembed`.
"""

from datetime import timedelta

from airflow.sdk import Asset, Param, dag, task
from airflow.sdk.exceptions import AirflowSkipException
from task_rules import SHARD_LABEL, deadline, on_gpu, task_rules

CHAMPION = Asset("champion")
ITEM_INDEX = Asset("item_index")


@dag(
    schedule=[CHAMPION],
    catchup=False,
    max_active_runs=1,  # an index has one writer at a time
    default_args=task_rules(timeout=timedelta(hours=24)),
    deadline=deadline("reembed", hours=48),
    params={"to": Param(None, type=["null", "string"], title="Version; empty: the configured one")},
    tags=["ponder"],
    doc_md=__doc__,
)
def reembed():
    @task
    def plan(params=None) -> list[list]:
        """Find what the version has not embedded, in shards."""
        from ponder.settings_sources import load_settings
        from ponder.steps.embed import plan
        from ponder.steps.reembed import settings_for

        settings = settings_for(load_settings(), params["to"] or "")
        return [list(shard) for shard in plan(settings).sized_shards()]

    @task(**on_gpu(), map_index_template=SHARD_LABEL, doc_md="Embed what is left of a range.")
    def embed(shard: list, params=None):
        from ponder.json_form import json_form
        from ponder.settings_sources import load_settings
        from ponder.steps.embed import embed
        from ponder.steps.reembed import settings_for

        first, last, _ = shard
        return json_form(embed(settings_for(load_settings(), params["to"] or ""), (first, last)))

    # Nothing new to embed skips `embed`, not the change.
    @task(trigger_rule="none_failed", **on_gpu())
    def switch(params=None):
        """Catch up with what landed meanwhile, validate, and serve the version."""
        from ponder.json_form import json_form
        from ponder.settings_sources import load_settings
        from ponder.steps.reembed import reembed

        return json_form(reembed(load_settings(), to=params["to"] or ""))

    @task(outlets=[ITEM_INDEX])
    def index_changed(switched):
        """Say that what is served changed."""
        is_new = switched["live"] != switched["before"]
        if not (is_new or switched["upserted"] or switched["deleted"]):
            raise AirflowSkipException("the index is as it was")

    switched = switch()
    embed.expand(shard=plan()) >> switched
    index_changed(switched)


reembed()

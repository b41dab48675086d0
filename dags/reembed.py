"""Change the model: embed everything with another one, and serve it when it is valid.

**Reads** the lake. The parameter `to` names the version, as `ponder reembed --to` takes it; empty,
it is the configured one, so that a new champion goes live with `PONDER_MODEL=registry:champion`.

**Writes** embeddings, and a Milvus collection beside the live one, which goes on answering until
the new one has caught up with what landed meanwhile and is valid. Every task finds what is left to
do, so a retry does nothing twice. Nothing is landed.

**Logic** `ponder.steps.reembed`.
"""

from datetime import timedelta

from airflow.sdk import Asset, Param, dag, task
from airflow.sdk.exceptions import AirflowSkipException
from retry_rules import OUTAGES_ALONE

ITEM_INDEX = Asset("item_index")


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,  # an index has one writer at a time
    default_args={
        "retries": 2,
        "retry_policy": OUTAGES_ALONE,
        "retry_delay": timedelta(minutes=5),
        "execution_timeout": timedelta(hours=24),
    },
    params={"to": Param(None, type=["null", "string"], title="Version; empty: the configured one")},
    tags=["ponder"],
    doc_md=__doc__,
)
def reembed():
    @task
    def plan(params=None) -> list[list[str]]:
        from ponder.settings_sources import load_settings
        from ponder.steps.embed import plan
        from ponder.steps.reembed import settings_for

        return [
            list(shard) for shard in plan(settings_for(load_settings(), params["to"] or "")).shards
        ]

    @task(pool="gpu")
    def embed(shard: list[str], params=None):
        from ponder.json_form import json_form
        from ponder.settings_sources import load_settings
        from ponder.steps.embed import embed
        from ponder.steps.reembed import settings_for

        first, last = shard
        return json_form(embed(settings_for(load_settings(), params["to"] or ""), (first, last)))

    # Nothing new to embed skips `embed`, not the change.
    @task(trigger_rule="none_failed", pool="gpu")
    def switch(params=None):
        from ponder.json_form import json_form
        from ponder.settings_sources import load_settings
        from ponder.steps.reembed import reembed

        return json_form(reembed(load_settings(), to=params["to"] or ""))

    @task(outlets=[ITEM_INDEX])
    def index_changed(switched):
        is_new = switched["live"] != switched["before"]
        if not (is_new or switched["upserted"] or switched["deleted"]):
            raise AirflowSkipException("the index is as it was")

    switched = switch()
    embed.expand(shard=plan()) >> switched
    index_changed(switched)


reembed()

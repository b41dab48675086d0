"""What tests of collections do with a catalogue of mugs."""

import json

from ponder.steps.embed import embed, plan
from ponder.steps.land import land_folder
from ponder.wiring.stores import open_index

MUGS = [f"s{n}" for n in range(4)]


def land(settings, *records, second=0):
    folder = settings.home / "landed"
    folder.mkdir(parents=True, exist_ok=True)
    when = {"updated_at": f"2026-03-01T10:00:{second:02d}Z"}
    lines = [json.dumps(record | when) + "\n" for record in records]
    (folder / "items.jsonl").write_text("".join(lines))
    land_folder(settings, folder)


def mugs(ids=MUGS):
    return [{"item_id": item_id, "title": f"{item_id} red mug"} for item_id in ids]


def gone(*ids):
    return [{"item_id": item_id, "deleted": True} for item_id in ids]


def embed_all(settings):
    for shard in plan(settings).shards:
        embed(settings, shard)


def held(settings, version):
    with open_index(settings) as milvus:
        return milvus.keys(version)["item_id"].sort().to_list()

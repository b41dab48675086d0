"""A page read again with an HTML parser, and the lakes and reports that pages are made of."""

import io
import json
from datetime import UTC, datetime
from html.parser import HTMLParser

import polars as pl
from PIL import Image

from catalog.lake.tables import DEAD_LETTERS, EMBEDDINGS, ITEMS, MEDIA, RATIONALES
from ponder.reports.run.page import write_html
from ponder.wiring.encoder import configured_version
from ponder.wiring.stores import open_lake

DASH = "\N{EN DASH}"
NOW = datetime(2026, 5, 4, 3, 2, tzinfo=UTC)


class Page(HTMLParser):
    """The elements of a page, the words of each section, and the cells of each table row."""

    def __init__(self, html):
        super().__init__()
        self.elements = []  # (tag, attributes)
        self.sections = {}  # id -> words, with one space between any two
        self.rows = []
        self._section, self._is_style, self._is_cell = None, False, False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        self._is_style = tag == "style"
        if tag in ("section", "header"):
            self._section = attributes["id"]
            self.sections[self._section] = ""
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self._is_cell = True
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self._is_style = False
        self._is_cell = self._is_cell and tag not in ("td", "th")

    def handle_data(self, data):
        if self._is_style or self._section is None:
            return
        words = " ".join(data.split())
        self.sections[self._section] = f"{self.sections[self._section]} {words}".strip()
        if self._is_cell:
            self.rows[-1][-1] = f"{self.rows[-1][-1]} {words}".strip()

    def values(self, attribute):
        return [a[attribute] for _, a in self.elements if attribute in a]


def page_of(settings):
    return Page(write_html(settings, now=NOW).read_text(encoding="utf-8"))


def png(colour):
    buffer = io.BytesIO()
    Image.new("RGB", (300, 150), colour).save(buffer, "PNG")
    return buffer.getvalue()


def put_items(settings, vectors, *, titles=None, reasoned=(), with_image=True):
    """Lands and embeds items: id -> vector; the ids in `reasoned` were reasoned about."""
    lake = open_lake(settings)
    rows = pl.DataFrame(
        {
            "item_id": list(vectors),
            "title": [(titles or {}).get(item_id, f"title of {item_id}") for item_id in vectors],
            "tags": [[] for _ in vectors],
            "attributes": ["{}" for _ in vectors],
            "image_hash": [f"hash-{item_id}" if with_image else None for item_id in vectors],
            "created_at": [NOW for _ in vectors],
            "updated_at": [NOW for _ in vectors],
            "deleted": [False for _ in vectors],
            "content_hash": [f"content-{item_id}" for item_id in vectors],
        },
        schema_overrides=ITEMS.schema,
    )
    lake.upsert_items(pl.concat([ITEMS.empty(), rows], how="diagonal"))
    media = [{"hash": f"hash-{item_id}", "bytes": png("red")} for item_id in vectors]
    lake.insert_new(MEDIA, pl.DataFrame(media, schema=MEDIA.schema))
    embeddings = [
        {
            "item_id": item_id,
            "content_hash": f"content-{item_id}",
            "model_version": configured_version(settings),
            "vector": vector,
            "action": "reason" if item_id in reasoned else "direct",
            "gate_probability": 0.75 if item_id in reasoned else 0.125,
            "rationale_tokens": 0,
        }
        for item_id, vector in vectors.items()
    ]
    lake.insert_new(EMBEDDINGS, pl.DataFrame(embeddings, schema=EMBEDDINGS.schema))


def put_rationale(settings, item_id, rationale, *, reasoner=None, summary=""):
    row = {
        "item_id": item_id,
        "content_hash": f"content-{item_id}",
        "reasoner": reasoner or configured_version(settings),
        "prompt_version": "1",
        "rationale": rationale,
        "summary": summary,
        "tokens": 3,
    }
    open_lake(settings).insert_new(RATIONALES, pl.DataFrame([row], schema=RATIONALES.schema))


def put_letter(settings, offset, *, stage, reason):
    row = dict.fromkeys(DEAD_LETTERS.columns) | {
        "topic": "items",
        "partition": 0,
        "offset": offset,
        "stage": stage,
        "reason": reason,
        "failed_at": NOW,
    }
    open_lake(settings).put_dead_letters(pl.DataFrame([row], schema=DEAD_LETTERS.schema))


def put_report(settings, name, values):
    settings.reports_folder.mkdir(parents=True, exist_ok=True)
    values = {"model_version": configured_version(settings)} | values
    (settings.reports_folder / f"{name}.json").write_text(json.dumps(values))


def example(query_id, found, relevant, **fields):
    return {
        "query_id": query_id,
        "text": f"text of {query_id}",
        "tier": "literal",
        "held_out": False,
        "action": "direct",
        "gate_probability": 0.125,
        "rationale": "",
        "summary": "",
        "found": found,
        "found_direct": found,
        "relevant": relevant,
    } | fields


def queries(examples, *, slices=("all", "held_out", "literal")):
    """A report in which every metric is another number: 0.<policy><slice><metric>."""
    return {
        "num_queries": 20,
        "num_items": 1000,
        "chance": 0.002,
        "policies": {
            policy: {
                "reason_rate": p / 2,
                "seconds": p + 1.0,
                "slices": {
                    name: {
                        "num_queries": 20,
                        "hit@1": (100 * p + 10 * s + 1) / 1000,
                        "hit@10": (100 * p + 10 * s + 2) / 1000,
                        "ndcg@10": (100 * p + 10 * s + 3) / 1000,
                    }
                    for s, name in enumerate(slices)
                },
            }
            for p, policy in enumerate(("never", "auto", "always"))
        },
        "prefixes": {},
        "examples": examples,
    }


def intervals(mean, low, high):
    names = ("auc", "gauc", "ndcg@10", "hit@10")
    return {name: {"mean": mean, "low": low, "high": high} for name in names}


EVALUATION = {
    "num_rows": 30,
    "num_requests": 10,
    "num_users": 5,
    "metrics": {
        "without match": intervals(0.5, 0.4, 0.6),
        "with match": intervals(0.75, 0.7, 0.8),
    },
    "differences": {"with match": intervals(0.25, 0.2, 0.3)},
}
UNDEFINED = EVALUATION | {"differences": {"with match": intervals(None, None, None)}}
RANKING = {
    "protocol": "impressions",
    "num_train_requests": 40,
    "overall": EVALUATION,
    "slices": {"item_age": {"< 24 h": UNDEFINED}},
    "importances": {"match_max": 0.6, "item_rate": 0.4},
}

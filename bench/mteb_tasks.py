"""Tasks in mteb's format made of the shared data sets, run by `ponder evaluate --mteb`.

    python -m bench.mteb_tasks --data ../shared/data --out FOLDER [--model nano] [--policy never]

`--out` gets a folder for each task, which `--mteb local:FOLDER` runs, and a deployment's home:

- `fashion_t2i`: the titles of the test split ask for the photos of products of that title;
- `fashion_it2it`: a photo and its product's kind in words ask for photos with titles, graded as the
  data set's README says; the products that ask are not among those that are found;
- `films_t2t`: the plots that OMDb has of films ask for the plots that TMDB has of them.

Every score is then computed again without mteb: the contents go straight to the encoder, and the
metrics are those of `evaluation/metrics.py`. The last line is JSON with every score, what it cost,
and the largest difference between the two ways.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from embedder.content import CatalogueEncoder, Content, Policy
from evaluation.exact_ranking import scores
from evaluation.metrics import Scores, means, measure
from evaluation.mteb.evaluation import TaskScore
from evaluation.rankings import Rankings
from ponder.json_form import json_form
from ponder.settings import Settings
from ponder.steps.mteb import evaluate_on_mteb
from ponder.wiring.encoder import open_encoder

METRICS = {
    "ndcg_at_10": "ndcg@10",
    "recall_at_10": "recall@10",
    "hit_rate_at_1": "hit@1",
    "mrr_at_10": "mrr@10",
}
"""mteb's name -> ours."""

CARD = "---\nconfigs:\n{}---\n"
CONFIG = "- config_name: {0}\n  data_files:\n  - split: test\n    path: {0}.parquet\n"


@dataclass(frozen=True, slots=True)
class RetrievalTask:
    """What asks, what can be found, and what is right."""

    queries: dict[str, Content]
    corpus: dict[str, Content]
    relevance: list[tuple[str, str, int]]
    """Query, document and how right it is, from 1; pairs that are not here are wrong."""


def write_task(folder: Path, task: RetrievalTask) -> None:
    """Write a folder that `local:FOLDER` reads: Parquet files, and a README.md that names them."""
    import datasets

    folder.mkdir(parents=True, exist_ok=True)
    judged = [
        {"query-id": query, "corpus-id": document, "score": grade}
        for query, document, grade in task.relevance
    ]
    tables = {
        "queries": _dataset(task.queries),
        "corpus": _dataset(task.corpus),
        "qrels": datasets.Dataset.from_list(judged),
    }
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet")
    (folder / "README.md").write_text(CARD.format("".join(map(CONFIG.format, tables))))


def _dataset(contents: Mapping[str, Content]) -> Any:
    """Return mteb's columns; those that no content needs are left out."""
    import datasets

    columns: dict[str, list[Any]] = {"id": list(contents)}
    if any(content.text for content in contents.values()):
        columns["text"] = [content.text for content in contents.values()]
    if any(content.image is not None for content in contents.values()):
        columns["image"] = [{"bytes": content.image, "path": None} for content in contents.values()]
    table = datasets.Dataset.from_dict(columns)
    return table.cast_column("image", datasets.Image()) if "image" in columns else table


def measured(task: RetrievalTask, encoder: CatalogueEncoder, policy: Policy) -> Scores:
    """Return every query's metrics, in order of query id, computed without mteb."""
    queries = encoder.encode_query(list(task.queries.values()), policy=policy)
    items = encoder.encode_items(list(task.corpus.values()), policy=policy)
    score_QN = scores(np.stack([q.vector for q in queries]), np.stack([i.vector for i in items]))
    found = pl.concat(
        pl.DataFrame({"request_id": query, "item_id": list(task.corpus), "score": score_N})
        for query, score_N in zip(task.queries, score_QN, strict=True)
    )
    judged = pl.DataFrame(
        task.relevance, schema=["request_id", "item_id", "relevance"], orient="row"
    )
    return measure(Rankings.of(found, judged), METRICS.values())


def own_scores(task: RetrievalTask, encoder: CatalogueEncoder, policy: Policy) -> dict[str, float]:
    """Return the means, under mteb's names."""
    of_all = means(measured(task, encoder, policy))
    return {name: of_all[ours] for name, ours in METRICS.items()}


def fashion_t2i(data: Path) -> RetrievalTask:
    """Titles for photos; equal titles are one query, whatever their spelling."""
    products = _products(data)
    first = products.unique("title_key", keep="first", maintain_order=True)
    keys = dict(zip(first["title_key"], map(str, first["item_id"]), strict=True))
    return RetrievalTask(
        queries={str(row["item_id"]): Content(row["title"]) for row in first.to_dicts()},
        corpus={
            f"photo-{row['item_id']}": Content(image=row["image"]) for row in products.to_dicts()
        },
        relevance=[
            (keys[row["title_key"]], f"photo-{row['item_id']}", 1) for row in products.to_dicts()
        ],
    )


def fashion_it2it(data: Path) -> RetrievalTask:
    """Every third photo, with its kind in words, for the other products."""
    products = _products(data).to_dicts()
    asking = products[::3]
    others = [product for row, product in enumerate(products) if row % 3]
    return RetrievalTask(
        queries={f"asks-{row['item_id']}": Content(_kind(row), row["image"]) for row in asking},
        corpus={str(row["item_id"]): Content(row["title"], row["image"]) for row in others},
        relevance=[
            (f"asks-{query['item_id']}", str(product["item_id"]), grade)
            for query in asking
            for product in others
            if (grade := _grade(query, product))
        ],
    )


def films_t2t(data: Path) -> RetrievalTask:
    """One site's plot of a film for the other's."""
    films = pl.read_parquet(data / "movielens_posters" / "items.parquet").drop_nulls(
        ["plot_omdb", "plot_tmdb"]
    )
    ids = films["item_id"].cast(pl.String).to_list()
    return RetrievalTask(
        queries=dict(zip(ids, map(Content, films["plot_omdb"]), strict=True)),
        corpus=dict(zip(ids, map(Content, films["plot_tmdb"]), strict=True)),
        relevance=[(item_id, item_id, 1) for item_id in ids],
    )


TASKS = {"fashion_t2i": fashion_t2i, "fashion_it2it": fashion_it2it, "films_t2t": films_t2t}


def _products(data: Path) -> pl.DataFrame:
    folder = data / "fashion_products"
    items = pl.read_parquet(folder / "items.parquet").filter(split="test")
    return items.join(pl.read_parquet(folder / "images.parquet"), on="item_id").sort("item_id")


def _kind(product: Mapping[str, Any]) -> str:
    return f"{product['base_colour']} {product['article_type']}, {product['gender']}"


def _grade(query: Mapping[str, Any], product: Mapping[str, Any]) -> int:
    """Grade as the data set's README does."""
    if query["title_key"] == product["title_key"]:
        return 3
    if query["article_type"] != product["article_type"]:
        return 0
    return 1 + (_kind(query) == _kind(product))


def compare(
    data: Path, out: Path, settings: Settings, policies: Sequence[Policy] = ()
) -> list[dict[str, Any]]:
    """Run every task both ways; return a row for each task and policy."""
    tasks = {name: make(data) for name, make in TASKS.items()}
    for name, task in tasks.items():
        write_task(out / name, task)
    evaluation = evaluate_on_mteb(settings, [f"local:{out / name}" for name in tasks], policies)
    encoder = open_encoder(settings.replace(policy="auto"))
    return [
        _row(done.task, policy, score, own_scores(tasks[done.task], encoder, policy))
        for done in evaluation.tasks
        for policy, score in done.policies.items()
    ]


def _row(task: str, policy: Policy, score: TaskScore, own: Mapping[str, float]) -> dict[str, Any]:
    [kept] = json.loads(score.path.read_text())["scores"]["test"]
    by_mteb = {name: kept[name] for name in METRICS}
    return {
        "task": task,
        "policy": policy,
        **by_mteb,
        "largest_difference": max(abs(by_mteb[name] - own[name]) for name in METRICS),
        "cost": json_form(score.cost),
    }


def main() -> None:
    """Parse the arguments and print the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="nano", help="as of PONDER_MODEL")
    parser.add_argument("--policy", action="append", default=[], help="only this one; repeatable")
    args = parser.parse_args()
    settings = Settings(home=args.out / "home", model=args.model)
    rows = compare(args.data, args.out, settings, args.policy)
    for row in rows:
        print({name: value for name, value in row.items() if name != "cost"})
    print(json.dumps(rows))


if __name__ == "__main__":
    main()

"""What the service costs over the calls that it makes, and what reading queries together gains.

    python -m bench.serve --home .ponder/demo --clients 32 --queries 320

`ponder serve` runs on a home that `ponder run` or `make demo` filled, on the embedded default
and in a process of its own, and is asked over kept connections by threads of this one. Titles of
items are the texts. The last line is JSON: texts a second with one client and with many, what the
encoder alone gives one by one and 32 at a time, which bounds that ratio where encoding is all there
is to do; milliseconds (p50) of an item query over HTTP and of its bare calls, and of 500
recommendations beside the recall and the prediction in them. Each with its ratio, and the goal that
it is held to.
"""

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from catalog.lake.living_embeddings import living_items
from catalog.lake.tables import EVENTS
from embedder.content import Content
from ponder.settings import Settings
from ponder.wiring.encoder import open_encoder
from ponder.wiring.stores import open_lake
from recall.exact import ExactIndex
from recall.filters import Filter

TOP_K = 100
RANKED = 500
MAX_BATCH = 32
WARMING = 16

BARE_STAGES = ("history", "version", "vectors", "interests", "search", "rank")

Ask = Callable[..., dict[str, Any]]
"""From a query, and an address that is not that of recall, to its reply."""


def main() -> None:
    """Measure everything once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="a home with a live version")
    parser.add_argument("--clients", type=int, default=32, help="threads that ask at once")
    parser.add_argument("--queries", type=int, default=320, help="of each measurement")
    parser.add_argument("--rankings", type=int, default=40, help="recommendations to time")
    parser.add_argument("--reasoning", default="auto", help="auto, always or never")
    options = parser.parse_args()
    settings = Settings(home=options.home)
    items = living_items(open_lake(settings)).select("item_id", "title").collect()
    users = open_lake(settings).scan(EVENTS).select("user_id").unique().sort("user_id").collect()
    with served(options.home) as address:
        ask = asking(address)
        found = {
            **texts(ask, items["title"].drop_nulls().to_list(), options),
            **overhead(ask, settings, items["item_id"].to_list(), options.queries),
            **recommendations(ask, users["user_id"].to_list(), options.rankings),
        }
    found |= encoder_alone(settings, items["title"].drop_nulls().to_list(), options)
    print(json.dumps(found))


@contextmanager
def served(home: Path) -> Iterator[str]:
    """Run the service, and yield its address."""
    command = [sys.executable, "-m", "ponder", "--home", str(home), "serve", "--port", "0"]
    service = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert service.stdout is not None
    try:
        words = service.stdout.readline().split()
        assert words, f"ponder serve must come up on {home}; try it by hand"
        yield words[-1]
    finally:
        service.terminate()
        service.wait(30)


def asking(address: str) -> Ask:
    """Return what sends a query and takes in its answer, each thread over a connection of its own.

    An answer that is no success ends the measurement.
    """
    host, own = urlsplit(address).netloc, threading.local()

    def ask(query: dict[str, Any], path: str = "/v1/recall") -> dict[str, Any]:
        if not hasattr(own, "connection"):
            own.connection = http.client.HTTPConnection(host, timeout=120)
        headers = {"content-type": "application/json"}
        own.connection.request("POST", path, json.dumps(query), headers)
        answer = own.connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body[:300]
        reply: dict[str, Any] = json.loads(body)
        return reply

    return ask


def texts(ask: Ask, titles: Sequence[str], options: argparse.Namespace) -> dict[str, Any]:
    """Compare many clients with one, on texts that differ."""
    queries = [
        {"text": f"{titles[n % len(titles)]} {n}", "top_k": TOP_K, "reasoning": options.reasoning}
        for n in range(options.queries)
    ]
    for query in queries[:WARMING]:
        ask(query)
    started = time.perf_counter()
    for query in queries:
        ask(query)
    alone_s = time.perf_counter() - started
    with ThreadPoolExecutor(options.clients) as clients:
        list(clients.map(ask, queries[: options.clients]))
        started = time.perf_counter()
        list(clients.map(ask, queries))
        together_s = time.perf_counter() - started
    return {
        "texts_per_s": {
            "one": round(len(queries) / alone_s, 1),
            "many": round(len(queries) / together_s, 1),
            "ratio": round(alone_s / together_s, 2),
            "goal": 4,
        }
    }


def encoder_alone(
    settings: Settings, titles: Sequence[str], options: argparse.Namespace
) -> dict[str, Any]:
    """Encode the same texts in this process, one by one and in full batches."""
    encoder = open_encoder(settings)
    contents = [Content(f"{titles[n % len(titles)]} {n}") for n in range(options.queries)]

    def encode(size: int) -> float:
        started = time.perf_counter()
        for begin in range(0, len(contents), size):
            encoder.encode_query(contents[begin : begin + size], policy=options.reasoning)
        return len(contents) / (time.perf_counter() - started)

    encoder.encode_query(contents[:WARMING], policy=options.reasoning)
    one, many = encode(1), encode(MAX_BATCH)
    return {
        "encoded_per_s": {
            "one": round(one, 1),
            "many": round(many, 1),
            "ratio": round(many / one, 2),
        }
    }


def recommendations(ask: Ask, users: Sequence[str], num: int) -> dict[str, Any]:
    """Compare what 500 recommendations take with the stages of recall and prediction in them."""
    ours, bare = list[float](), list[float]()
    for number in range(-num, num):  # a first round, which warms
        asked = {"user_id": users[number % len(users)], "top_k": RANKED}
        reply = ask(asked, "/v1/recommend")
        if number >= 0 and not reply["fallback"]:
            ours.append(reply["took_ms"])
            bare.append(sum(reply["timings"].get(stage, 0.0) for stage in BARE_STAGES))
    ours_ms, bare_ms = statistics.median(ours), statistics.median(bare)
    return {
        "recommend_500_p50_ms": {
            "ours": round(ours_ms, 2),
            "bare": round(bare_ms, 2),
            "ratio": round(ours_ms / bare_ms, 2),
            "goal": 2,
        }
    }


def overhead(
    ask: Ask,
    settings: Settings,
    item_ids: Sequence[str],
    num_queries: int,
) -> dict[str, Any]:
    """Compare item queries over HTTP with the two searches that each takes, in turns."""
    ours, bare = list[float](), list[float]()
    version = ask({"item_id": item_ids[0]})["version"]
    index = ExactIndex(open_lake(settings), settings.vectors_folder, lambda: version)
    for number in range(-WARMING, num_queries):
        item_id = item_ids[number % len(item_ids)]
        started = time.perf_counter()
        ask({"item_id": item_id, "top_k": TOP_K})
        asked = time.perf_counter()
        vector_D = index.vectors([item_id], version)[item_id]
        index.search(vector_D[None], version, limit=TOP_K, filter=Filter(exclude_ids=(item_id,)))
        ended = time.perf_counter()
        if number >= 0:
            ours.append(1000 * (asked - started))
            bare.append(1000 * (ended - asked))
    ours_ms, bare_ms = statistics.median(ours), statistics.median(bare)
    return {
        "item_p50_ms": {
            "http": round(ours_ms, 2),
            "bare": round(bare_ms, 2),
            "ratio": round(ours_ms / bare_ms, 2),
            "goal": round(1.15 * bare_ms + 1, 2),
        }
    }


if __name__ == "__main__":
    main()

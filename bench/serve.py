"""What the service costs over the calls that it makes, and what reading queries together gains.

    python -m bench.serve --home .ponder/demo --clients 32 --queries 320

`ponder serve` runs on a home that `ponder run` or `make demo` filled, on the embedded default
and in a process of its own, and is asked over kept connections by threads of this one. Titles of
items are the texts. The last line is JSON: texts a second with one client and with many, the
service's processor time of each (which other work on the machine hardly moves), what the encoder
alone gives one by one and 32 at a time, which bounds that ratio where encoding is all there
is to do; milliseconds (p50) of an item query over HTTP and of its bare calls, and of 500
recommendations beside the recall and the prediction in them. Each with its ratio, and the goal that
it is held to.
"""

import argparse
import json
import os
import socket
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

Processor = Callable[[], float]
"""Seconds of a processor that the service has taken so far."""

Ask = Callable[..., bytes]
"""From a query, and an address that is not that of recall, to the bytes of its reply."""


def main() -> None:
    """Measure everything once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="a home with a live version")
    parser.add_argument("--clients", type=int, default=32, help="threads that ask at once")
    parser.add_argument("--queries", type=int, default=320, help="of each measurement")
    parser.add_argument("--rankings", type=int, default=40, help="recommendations to time; 0: none")
    parser.add_argument("--reasoning", default="auto", help="auto, always or never")
    options = parser.parse_args()
    settings = Settings(home=options.home)
    items = living_items(open_lake(settings)).select("item_id", "title").collect()
    users = open_lake(settings).scan(EVENTS).select("user_id").unique().sort("user_id").collect()
    with served(options.home) as (address, processor_s):
        ask = asking(address)
        found = {
            **texts(ask, processor_s, items["title"].drop_nulls().to_list(), options),
            **overhead(ask, settings, items["item_id"].to_list(), options.queries),
        }
        if options.rankings:
            found |= recommendations(ask, users["user_id"].to_list(), options.rankings)
    found |= encoder_alone(settings, items["title"].drop_nulls().to_list(), options)
    print(json.dumps(found))


@contextmanager
def served(home: Path) -> Iterator[tuple[str, Processor]]:
    """Run the service, and yield its address and what tells of its processor time."""
    command = [sys.executable, "-m", "ponder", "--home", str(home), "serve", "--port", "0"]
    service = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert service.stdout is not None
    try:
        words = service.stdout.readline().split()
        assert words, f"ponder serve must come up on {home}; try it by hand"
        yield words[-1], lambda: _processor_s(service.pid)
    finally:
        service.terminate()
        service.wait(30)


def _processor_s(pid: int) -> float:
    """Return the seconds of a processor that a process took, in its code and in the kernel's."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = int(fields[11]), int(fields[12])
    return (user + system) / os.sysconf("SC_CLK_TCK")


class Connection:
    """A kept connection that does no more than HTTP needs.

    Client and service share the cores here, and what Python's own client takes would be counted as
    the service's.
    """

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        assert parts.hostname is not None
        self._host = parts.netloc
        self._socket = socket.create_connection((parts.hostname, parts.port), timeout=120)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def post(self, path: str, query: dict[str, Any]) -> bytes:
        """Send a query and return the bytes of its answer; one that is no success ends all."""
        body = json.dumps(query).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nhost: {self._host}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        self._socket.sendall(head.encode() + body)
        got = self._socket.recv(65_536)
        while b"\r\n\r\n" not in got:
            got += self._socket.recv(65_536)
        head_bytes, _, answer = got.partition(b"\r\n\r\n")
        length = int(head_bytes.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        while len(answer) < length:
            answer += self._socket.recv(65_536)
        assert head_bytes.startswith(b"HTTP/1.1 200 "), answer[:300]
        return answer


def asking(address: str) -> Ask:
    """Return what sends a query and returns its answer, each thread over its own connection."""
    own = threading.local()

    def ask(query: dict[str, Any], path: str = "/v1/recall") -> bytes:
        if not hasattr(own, "connection"):
            own.connection = Connection(address)
        answer: bytes = own.connection.post(path, query)
        return answer

    return ask


def texts(
    ask: Ask, processor_s: Processor, titles: Sequence[str], options: argparse.Namespace
) -> dict[str, Any]:
    """Compare many clients with one, on texts that differ."""
    queries = [
        {"text": f"{titles[n % len(titles)]} {n}", "top_k": TOP_K, "reasoning": options.reasoning}
        for n in range(options.queries)
    ]

    def seconds(clients: int) -> tuple[float, float]:
        """Return what all queries take by the clock, and of the service's processors."""
        with ThreadPoolExecutor(clients) as asking_at_once:
            list(asking_at_once.map(ask, queries[: max(WARMING, clients)]))
            clock, processor = time.perf_counter(), processor_s()
            list(asking_at_once.map(ask, queries))
            return time.perf_counter() - clock, processor_s() - processor

    (alone_s, alone_processor_s), (together_s, together_processor_s) = map(
        seconds, (1, options.clients)
    )
    return {
        "texts_per_s": {
            "one": round(len(queries) / alone_s, 1),
            "many": round(len(queries) / together_s, 1),
            "ratio": round(alone_s / together_s, 2),
            "goal": 4,
        },
        "processor_ms_per_text": {
            "one": round(1000 * alone_processor_s / len(queries), 2),
            "many": round(1000 * together_processor_s / len(queries), 2),
            "ratio": round(alone_processor_s / together_processor_s, 2),
        },
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
        reply = json.loads(ask(asked, "/v1/recommend"))
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
    version = json.loads(ask({"item_id": item_ids[0]}))["version"]
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

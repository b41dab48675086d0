"""A service, its clients and a writer at load on a Milvus server, which freezes and starts anew.

    python -m venv /tmp/milvus-venv && /tmp/milvus-venv/bin/pip install milvus==2.3.5
    python -m bench.server_load --milvus-python /tmp/milvus-venv/bin/python --minutes 10

Starts a Milvus server and `ponder serve`. Clients ask for items like an item without pause, while
a writer edits, deletes and adds items and runs `ponder index`, again and again. Then the server is
frozen (SIGSTOP) and later killed and started anew, while the clients go on. The last line is JSON.
It fails when a reply was wrong, or when lake and index differ at the end.

Item vectors are random, so no model runs; the service loads the one that ships.
"""

import argparse
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException

from bench.index_memory import batches
from catalog.lake.tables import EMBEDDINGS, ITEMS
from ponder.settings import Settings
from ponder.steps.audit import audit
from ponder.steps.index import index
from ponder.steps.versions import promote
from ponder.wiring.encoder import configured_version
from ponder.wiring.stores import open_index, open_lake

SERVER = """
import sys
from milvus import MilvusServer
server = MilvusServer(wait_for_started=True)
server.set_base_dir(sys.argv[1])
server.listen_port = int(sys.argv[2])
server.start()
if server.listen_port != int(sys.argv[2]):
    sys.exit("the port is still in use; wait for a minute")
print(server.server_proc.pid, flush=True)
sys.stdin.read()
server.stop()
"""
MILVUS_PORT, PORT = 19_551, 18_551
FOLLOWS_S = 8.0  # a bounded read is five seconds behind at most, the service looks once a second
PER_ROUND = 30
NUM_CANDIDATES = 20
SEARCH_TIMEOUT_S = 2.0


@dataclass
class Load:
    """What clients saw, second by second and altogether."""

    deleted: dict[str, float] = field(default_factory=dict)
    """When an item was gone from the index, by the writer's account."""

    replies: list[tuple[float, int, float]] = field(default_factory=list)
    """(when it was asked, HTTP status, seconds); status 0: no reply."""

    served: list[tuple[str, float, float]] = field(default_factory=list)
    """(item, seconds after it was gone, when it was asked) of what should not be found."""

    faults: Counter[str] = field(default_factory=Counter)
    ended: threading.Event = field(default_factory=threading.Event)

    def between(self, begin: float, end: float) -> list[tuple[float, int, float]]:
        """Return the replies to what was asked in that time."""
        return [each for each in self.replies if begin <= each[0] < end]


def main() -> None:
    """Load, freeze, restart, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--milvus-python", required=True, help="a Python that has milvus==2.3.5")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--items", type=int, default=5_000)
    parser.add_argument("--dim", type=int, default=128, help="of the model that ships")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--outage-s", type=float, default=20.0)
    options = parser.parse_args()
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # outages are the matter here
    with tempfile.TemporaryDirectory(prefix="ponder-bench-") as folder:
        settings = Settings(
            home=Path(folder) / "home",
            milvus=f"http://127.0.0.1:{MILVUS_PORT}",
            search_timeout_s=SEARCH_TIMEOUT_S,
        )
        found = _measured(settings, Path(folder) / "milvus", options)
    print(json.dumps(found))
    if found["faults"] or found["differences"]:
        sys.exit("wrong replies, or lake and index differ")


def _measured(settings: Settings, milvus: Path, options: argparse.Namespace) -> dict[str, Any]:
    with _server(options.milvus_python, milvus) as pid:
        writer = Writer(settings, options.items, dim=options.dim)
        with _service(settings), _clients(writer, options.clients) as load:
            found = {"load": _under_load(load, writer, 60 * options.minutes)}
            print(found, flush=True)
            found["frozen"] = _frozen(load, pid, options.outage_s)
            print(found["frozen"], flush=True)
            began = time.monotonic()
            with _started_again(pid, settings.milvus, options.outage_s):
                found["restarted"] = _recovery(load, began, time.monotonic())
                writer.round()
                load.ended.set()
                differences = writer.differences()
    return found | {
        "faults": dict(load.faults),
        "served_after_s": sorted(round(after_s, 1) for _, after_s, _ in load.served),
        "differences": differences,
        "rounds": writer.rounds,
        "written": writer.written,
    }


class Writer:
    """Changes the catalogue and has it indexed."""

    def __init__(self, settings: Settings, num_items: int, *, dim: int) -> None:
        """Fill the lake and the index with so many items, and let them be served."""
        self._settings, self._dim = settings, dim
        self._lake, self._version = open_lake(settings), configured_version(settings)
        self._rng = np.random.default_rng(1)
        self.rounds = self.written = 0
        self.load = Load()
        for items, embeddings in batches(num_items, self._version, dim=dim):
            self._land(items, embeddings)
        self.living = items_of(num_items)
        self._num_made = num_items
        index(settings)
        promote(settings, force=True)

    def _land(self, items: pl.DataFrame, embeddings: pl.DataFrame) -> None:
        self._lake.upsert_items(items)
        self._lake.insert_new(EMBEDDINGS, embeddings)

    def round(self) -> None:
        """Edit some items, delete some, add some, and index."""
        edited = self._rng.choice(self.living, PER_ROUND, replace=False).tolist()
        gone = self._rng.choice(
            [each for each in self.living if each not in edited], PER_ROUND, replace=False
        ).tolist()
        new = items_of(PER_ROUND, begin=self._num_made)
        self._num_made += PER_ROUND
        self._land(*self._rows(edited + new))
        stored = self._lake.scan(ITEMS).filter(pl.col("item_id").is_in(gone)).collect()
        later = pl.col("updated_at") + timedelta(days=400 + self.rounds)
        self._lake.upsert_items(stored.with_columns(updated_at=later, deleted=pl.lit(True)))
        self.living = sorted(set(self.living) - set(gone))  # and is asked for them no more
        index(self._settings)
        self.living = sorted([*self.living, *new])
        # Anew, for clients go through it meanwhile.
        self.load.deleted = self.load.deleted | dict.fromkeys(gone, time.monotonic())
        self.rounds += 1
        self.written += 3 * PER_ROUND

    def _rows(self, ids: list[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
        [(items, embeddings)] = batches(len(ids), self._version, dim=self._dim)
        hashes = [self._rng.bytes(32).hex() for _ in ids]
        later = pl.col("updated_at") + timedelta(days=300 + self.rounds)
        vectors_ND = self._rng.normal(size=(len(ids), self._dim)).astype(np.float32)
        vectors_ND /= np.linalg.norm(vectors_ND, axis=1, keepdims=True)
        keys = {"item_id": pl.Series(ids), "content_hash": pl.Series(hashes)}
        vectors = pl.Series(vectors_ND.tolist(), dtype=pl.List(pl.Float32))
        return items.with_columns(updated_at=later, **keys), embeddings.with_columns(
            vector=vectors, **keys
        )

    def differences(self) -> list[str]:
        """Return where the lake and the index differ: by audit, by count and by content."""
        wanted = self._lake.scan(ITEMS).filter(~pl.col("deleted"))
        rows = wanted.select("item_id", "content_hash").sort("item_id").collect()
        with open_index(self._settings) as milvus:
            held = milvus.keys(self._version).select("item_id", "content_hash").sort("item_id")
            count = milvus.count(self._version)
        found = [str(fault) for fault in audit(self._settings).faults]
        found += [] if held.equals(rows) else ["keys or hashes differ"]
        found += [] if count == len(rows) else [f"{count} counted of {len(rows)}"]
        return found + ([] if rows["item_id"].to_list() == self.living else ["the lake differs"])


def items_of(num: int, *, begin: int = 0) -> list[str]:
    """Return the ids that `bench.index_memory` gives."""
    return [f"item-{n:09d}" for n in range(begin, begin + num)]


@contextmanager
def _server(python: str, folder: Path) -> Iterator[int]:
    """Run a Milvus server; yields the id of its process."""
    folder.mkdir(exist_ok=True)
    with subprocess.Popen(
        [python, "-c", SERVER, str(folder), str(MILVUS_PORT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        told = iter(process.stdout.readline, "")
        pid = next((int(line) for line in told if line.strip().isdigit()), None)
        if pid is None:
            sys.exit("Milvus did not start")
        yield pid
        process.stdin.close()


@contextmanager
def _service(settings: Settings) -> Iterator[None]:
    environment = {
        "PONDER_MILVUS": settings.milvus,
        "PONDER_SEARCH_TIMEOUT_S": str(settings.search_timeout_s),
    }
    command = [sys.executable, "-m", "ponder", "--home", str(settings.home), "serve"]
    with subprocess.Popen(
        [*command, "--port", str(PORT)],
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        while _get("/readyz")[0] != 200:
            time.sleep(0.2)
        yield
        process.terminate()


@contextmanager
def _clients(writer: Writer, num: int) -> Iterator[Load]:
    threads = [threading.Thread(target=_ask, args=(writer, seed)) for seed in range(num)]
    for thread in threads:
        thread.start()
    try:
        yield writer.load
    finally:
        writer.load.ended.set()
        for thread in threads:
            thread.join()


def _ask(writer: Writer, seed: int) -> None:
    rng, load = np.random.default_rng(seed), writer.load
    while not load.ended.is_set():
        asked_at = time.monotonic()
        gone = {i for i, at in load.deleted.items() if asked_at - at > FOLLOWS_S}
        item_id = rng.choice(writer.living)
        status, reply = _get("/v1/recall", {"item_id": item_id, "top_k": NUM_CANDIDATES})
        load.replies.append((asked_at, status, time.monotonic() - asked_at))
        if status == 200:
            found = {each["item_id"] for each in reply["candidates"]}
            if served := found & gone:
                load.faults["deleted and served"] += 1
                load.served += [(i, asked_at - load.deleted[i], asked_at) for i in served]
            if len(found) < NUM_CANDIDATES:
                load.faults["too few"] += 1


def _get(path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status, json.loads(reply.read())
    except urllib.error.HTTPError as error:
        return error.code, None
    except (OSError, ValueError):
        return 0, None


def _under_load(load: Load, writer: Writer, seconds: float) -> dict[str, Any]:
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        writer.round()
    return _summary(load.between(began, time.monotonic()))


def _frozen(load: Load, pid: int, seconds: float) -> dict[str, Any]:
    began = time.monotonic()
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        os.kill(pid, signal.SIGCONT)
    return _recovery(load, began, time.monotonic())


@contextmanager
def _started_again(pid: int, uri: str, seconds: float) -> Iterator[None]:
    """Kill the server, and after some seconds start one on the same folder and wait for it."""
    command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
    variables = Path(f"/proc/{pid}/environ").read_text().split("\0")[:-1]
    folder = os.readlink(f"/proc/{pid}/cwd")
    os.kill(pid, signal.SIGKILL)
    time.sleep(seconds)
    # Not by the package, which would take another port while connections of before wind down.
    with subprocess.Popen(
        command,
        cwd=folder,
        env=dict(each.split("=", 1) for each in variables),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        while not _answers(uri):
            if process.poll() is not None:
                sys.exit("Milvus did not start again")
            time.sleep(0.5)
        yield
        process.kill()


def _answers(uri: str) -> bool:
    try:
        MilvusClient(uri=uri, timeout=2).list_collections(timeout=2)
    except MilvusException:
        return False
    return True


def _recovery(load: Load, began: float, back_at: float) -> dict[str, Any]:
    """Return what was answered in an outage, and when all answers were right again after it."""
    during = _summary(load.between(began, back_at))
    while True:
        time.sleep(1)
        last = load.between(time.monotonic() - 3 - SEARCH_TIMEOUT_S, time.monotonic())
        if last and {status for _, status, _ in last} == {200}:
            break
    failed = [asked_at for asked_at, status, _ in load.replies if status != 200]
    return during | {"recovered_after_s": round(max(max(failed, default=0) - back_at, 0), 1)}


def _summary(replies: list[tuple[float, int, float]]) -> dict[str, Any]:
    statuses = Counter(status for _, status, _ in replies)
    seconds = np.array([took for _, _, took in replies])
    return {
        "replies": dict(sorted(statuses.items())),
        "median_ms": round(1_000 * float(np.median(seconds)), 1),
        "p99_ms": round(1_000 * float(np.quantile(seconds, 0.99)), 1),
        "max_ms": round(1_000 * float(seconds.max()), 1),
    }


if __name__ == "__main__":
    main()

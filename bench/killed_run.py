"""An embedding run that is killed again and again against one that is not.

    python bench/killed_run.py --items 5000 --kills 50

Lands the same bazaar in two lakes. One is embedded by a process that nobody disturbs; the other by
processes that are killed (SIGKILL) after a random number of items, until one comes to the end. Both
tables must hold the same items, contents and actions, and the same vectors to 1e-5 (what is left
after a kill is cut into other batches). `again` counts the items that were embedded more than
once: less than one shard per kill.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from catalog.bazaar.generator import BazaarConfig, write_bazaar
from catalog.lake.tables import EMBEDDINGS
from ponder.settings import Settings
from ponder.steps.embed import embed_shards, plan
from ponder.steps.land import land_folder
from ponder.wiring.stores import open_lake


def child(home: Path, notes: Path, shard_size: int) -> None:
    """Embed what is left, and append one byte to `notes` for each item."""
    settings = Settings(home=home, shard_size=shard_size)
    with notes.open("ab", buffering=0) as file:
        embed_shards(settings, plan(settings).shards, progress=lambda done: file.write(b"." * done))


def start(home: Path, notes: Path, shard_size: int) -> subprocess.Popen[bytes]:
    """Start such a child as a process."""
    arguments = ["--child", str(home), str(notes), "--shard-size", str(shard_size)]
    return subprocess.Popen([sys.executable, __file__, *arguments])


def killed_run(home: Path, notes: Path, *, kills: int, shard_size: int, num_items: int) -> int:
    """Run and kill, then run to the end; return how often it really killed."""
    source, done = random.Random(0), 0
    for _ in range(kills):
        # On average half of the work is left for the last run.
        target = notes.stat().st_size + source.randrange(1, max(2, num_items // kills))
        process = start(home, notes, shard_size)
        while process.poll() is None and notes.stat().st_size < target:
            time.sleep(0.002)
        done += process.poll() is None
        process.kill()
        process.wait()
    assert start(home, notes, shard_size).wait() == 0
    return done


def table(home: Path) -> pl.DataFrame:
    """Return the embeddings of a lake, by item."""
    return open_lake(Settings(home=home)).read(EMBEDDINGS).sort("item_id")


def compare(items: int, kills: int, shard_size: int, folder: Path) -> dict[str, object]:
    """Compare both runs."""
    data = folder / "data"
    write_bazaar(data, BazaarConfig(num_items=items, num_users=1, num_weeks=1, num_queries=0))
    homes = {name: folder / name for name in ("whole", "broken")}
    notes = {name: folder / f"{name}.notes" for name in homes}
    for name, home in homes.items():
        land_folder(Settings(home=home), data)
        notes[name].touch()
    assert start(homes["whole"], notes["whole"], shard_size).wait() == 0
    done = killed_run(
        homes["broken"], notes["broken"], kills=kills, shard_size=shard_size, num_items=items
    )
    whole, broken = table(homes["whole"]), table(homes["broken"])
    columns = ["item_id", "content_hash", "model_version", "action", "rationale_tokens"]
    assert broken.select(columns).equals(whole.select(columns))
    difference = np.abs(np.stack(whole["vector"]) - np.stack(broken["vector"])).max()
    assert difference <= 1e-5, difference
    again = notes["broken"].stat().st_size - len(whole)
    assert again < max(1, done) * shard_size
    return {
        "items": len(whole),
        "kills": done,
        "shard_size": shard_size,
        "again": again,
        "again_per_kill": round(again / max(1, done), 1),
        "largest_difference": float(difference),
    }


def main() -> None:
    """Measure as the command line says, and print it."""
    parser = argparse.ArgumentParser(description="Kill embedding runs and compare the result.")
    parser.add_argument("--items", type=int, default=5_000, help="items of the bazaar")
    parser.add_argument("--kills", type=int, default=50, help="processes that are killed")
    parser.add_argument("--shard-size", type=int, default=128, help="items of one shard")
    parser.add_argument("--child", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(*options.child, options.shard_size)
        return
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(compare(options.items, options.kills, options.shard_size, Path(folder))))


if __name__ == "__main__":
    main()

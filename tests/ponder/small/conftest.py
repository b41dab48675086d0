"""A WordNet of a dozen senses and a handful of emoji, in the forms that the real ones have."""

import io

import polars as pl
import pytest
from PIL import Image

from ponder.small.wordnet import read_wordnet

LICENCE = "  1 This software and database is being provided to you, the LICENSEE\n"
NOUNS = {
    # offset: (field, words, pointers, gloss)
    "00000001": (18, "sailor", [("@", "00000002")], 'someone who sails; "the sailor sang"'),
    "00000002": (18, "worker", [("~", "00000001")], "someone who works"),
    "00000003": (6, "boat kayak", [("~", "00000004")], "a thing that floats"),
    "00000004": (6, "ship", [("@", "00000003")], "a large boat"),
    "00000005": (5, "otter", [("@", "00000006")], "an animal of rivers"),
    "00000006": (5, "beast", [], "a wild animal"),
    "00000007": (11, "storm", [], 'violent weather; "a storm at sea"'),
    "00000008": (13, "bread", [], "food of flour"),
    "00000009": (20, "rose", [], "a flower with thorns"),
    "00000010": (15, "Paris", [("@i", "00000006")], "a town on the Seine"),
    "00000011": (18, "lout", [], "an offensive word for someone"),
    "00000012": (6, "ship", [], "a vessel in a second sense"),
}
VOCABULARY = (
    *("sailor", "worker", "boat", "ship", "otter", "beast", "storm", "bread", "rose", "ships"),
    *("mirela", "paris", "tokar", "velda", "##s", "the", "red"),
)


def data_line(offset, field, words, pointers, gloss, part="n"):
    words = words.split()
    told = " ".join(f"{word} 0" for word in words)
    near = "".join(f" {kind} {to} n 0000" for kind, to in pointers)
    return (
        f"{offset} {field:02d} {part} {len(words):02x} {told} {len(pointers):03d}{near} | {gloss}  "
    )


@pytest.fixture(scope="session")
def wordnet_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wordnet")
    lines = [data_line(offset, *told) for offset, told in NOUNS.items()]
    (folder / "data.noun").write_text(LICENCE + "\n".join(lines) + "\n")
    for part, letter in (("verb", "v"), ("adj", "s"), ("adv", "r")):
        line = data_line("00000020", 30, f"{part}ish(p)", [("@", "00000001")], "so", letter)
        (folder / f"data.{part}").write_text(LICENCE + line + "\n")
    senses = {}
    for offset, (_, words, _, _) in NOUNS.items():
        for word in words.split():
            senses.setdefault(word.lower(), []).append(offset)
    index = [f"{w} n {len(o)} 1 @ {len(o)} 0 {' '.join(o)}  " for w, o in sorted(senses.items())]
    (folder / "index.noun").write_text(LICENCE + "\n".join(index) + "\n")
    return folder


@pytest.fixture(scope="session")
def wordnet(wordnet_folder):
    return read_wordnet(wordnet_folder)


@pytest.fixture(scope="session")
def emoji_folder(tmp_path_factory):
    """Six plain squares, one of them of the test split, and one with a skin tone."""
    folder = tmp_path_factory.mktemp("emoji")
    names = ("apple", "boat", "cat", "drum", "hand, dark skin tone", "egg")
    images = []
    for number in range(len(names)):
        buffer = io.BytesIO()
        area = Image.new("RGB", (32, 32), (255, 255, 255))
        area.paste((200 - 30 * number, 20 + 30 * number, 90), (4, 4, 28, 28))
        area.save(buffer, "PNG")
        images.append(buffer.getvalue())
    ids = [f"e{number}" for number in range(len(names))]
    splits = ["train"] * 5 + ["test"]
    pl.DataFrame({"item_id": ids, "name": names, "split": splits}).write_parquet(
        folder / "items.parquet"
    )
    pl.DataFrame({"item_id": ids, "image": images}).write_parquet(folder / "images.parquet")
    return folder

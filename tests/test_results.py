"""docs/results.json: each number that the docs claim, with what made it."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
RESULTS = json.loads((ROOT / "docs" / "results.json").read_text())


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_says_how_it_was_made(name):
    assert re.fullmatch(r"[a-z]+/[a-z0-9_@]+", name)
    result = RESULTS[name]
    assert set(result) == {"value", "interval", "command", "commit", "machine"}
    assert result["command"]
    assert result["machine"]
    assert re.fullmatch(r"[0-9a-f]{7,40}", result["commit"])
    low, high = result["interval"] or (result["value"], result["value"])
    assert low <= result["value"] <= high


def readme_table():
    """The first two columns of the results in README, for what is found by a name."""
    rows = (ROOT / "README.md").read_text().split("## Results")[1].split("\n\n")[2].splitlines()
    return {cells[1].strip(): cells[2].strip() for row in rows[2:] if (cells := row.split("|"))}


@pytest.mark.parametrize(
    ("row", "names"),
    [
        (
            "`small`, which ships",
            ["small/plot_r@1", "small/plot_beside_poster_r@1", "small/cold_p@10"],
        ),
        ("questions of the demo", ["bazaar/auto_all_hit@1"]),
        ("of these, composed", ["bazaar/auto_composed_hit@1"]),
        ("ranking with match", ["bazaar/ranker_match_gain_ndcg@10"]),
        ("MovieLens, everybody", ["films/two_stage_hr@10"]),
        ("MovieLens, strictly", ["films/as_of_hr@10"]),
        (
            "MovieLens, gained",
            ["films/small_match_gain_hr@10", "films/small_match_gain_ndcg@10"],
        ),
        ("emoji of", ["emoji/small_all_hit@1", "emoji/small_meant_hit@1"]),
        ("MovieLens by", ["movielens/next_item_hit@10"]),
        ("frozen MiniLM", ["fashion/text_to_image_r@10", "fashion/image_to_text_r@10"]),
        (
            "what selection",
            [
                "reasoning/selected_over_unselected_overall_hit@1",
                "reasoning/selected_over_unselected_composed_hit@1",
            ],
        ),
    ],
)
def test_readme_says_what_was_measured(row, names):
    (said,) = [value for key, value in readme_table().items() if key.startswith(row)]
    numbers = [float(text) for text in re.findall(r"\.\d+", said)]
    expected = []
    for name in names:
        expected += [RESULTS[name]["value"], *(RESULTS[name]["interval"] or ())]
    assert numbers == pytest.approx(expected, abs=5.1e-4)


def test_the_table_that_readme_opens_with_says_what_nano_was_measured_to_do():
    opening = (ROOT / "README.md").read_text().split("![")[0]
    table = [row.split("|")[2:5] for row in opening.splitlines() if row.startswith("|")][2:5]
    tiers = [("composed",), ("literal", "everyday", "indirect"), ("overall",)]
    for row, named in zip(table, tiers, strict=True):
        for cell, policy in zip(row, ("never", "auto", "always"), strict=True):
            hits = [RESULTS[f"nano/{policy}_{tier}_hit@1"]["value"] for tier in named]
            said = [float(text) for text in re.findall(r"\.\d+", cell.split("±")[0])]
            assert said == pytest.approx(hits, abs=5.1e-4)

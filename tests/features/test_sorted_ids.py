"""Where items stand in a column of ids in order."""

import polars as pl
import pytest

from features.sorted_ids import rows_in


@pytest.mark.parametrize(
    ("there", "asked", "rows"),
    [
        (["b", "d"], ["d", "b", "d"], [1, 0, 1]),
        (["b", "d"], ["a", "c", "e", ""], [-1, -1, -1, -1]),
        ([], ["a"], [-1]),
        (["b"], [], []),
    ],
)
def test_an_item_has_the_row_of_its_id_and_a_stranger_none(there, asked, rows):
    ids = [pl.Series(each, dtype=pl.String) for each in (there, asked)]
    assert rows_in(*ids).tolist() == rows

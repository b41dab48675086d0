"""Tests for recall/index_kinds.py: what kinds of index take, which fits, and what is sent."""

import pytest

from recall.collection import IndexConfig, indexes
from recall.index_kinds import KINDS, IndexParameters, chosen_kind, known_kinds, vector_bytes

GIB = 2**30
NEWEST, OLD = "v2.6.3", "v2.3.5-lite"  # as servers name themselves: the latter is of PyPI
LITE = "milvus_lite-3.2.2"


def chosen(asked="auto", server=NEWEST, *, memory_gib=None, num_items=1_000_000, dim=1_024):
    memory_bytes = None if memory_gib is None else int(memory_gib * GIB)
    return chosen_kind(asked, server, num_items=num_items, dim=dim, m=16, memory_bytes=memory_bytes)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("FLAT", 4_096),
        ("HNSW", 4_096 + 140.8),  # 16 links x 2 x 1.1 x 4 bytes
        ("HNSW_SQ", 1_024 + 140.8),
        ("IVF_SQ8", 1_024),
        ("IVF_RABITQ", 1_024 + 128),
        ("DISKANN", 512 + 409.6),
        ("AUTOINDEX", 4_096 + 140.8),
    ],
)
def test_what_a_vector_of_1024_dims_takes(kind, expected):
    assert vector_bytes(kind, dim=1_024, m=16) == pytest.approx(expected)


# A million twice: HNSW 7.89 GiB, HNSW_SQ 2.17, IVF_SQ8 1.91, DISKANN 1.72.
@pytest.mark.parametrize(
    ("memory_gib", "newest", "old"),
    [
        (None, "HNSW", "HNSW"),
        (8, "HNSW", "HNSW"),
        (7.8, "HNSW_SQ", "IVF_SQ8"),
        (2, "IVF_SQ8", "IVF_SQ8"),
        (1.8, "DISKANN", "IVF_SQ8"),
        (1, "DISKANN", "IVF_SQ8"),
    ],
)
def test_auto_takes_the_first_kind_that_fits_twice_and_that_the_server_has(memory_gib, newest, old):
    assert chosen(server=NEWEST, memory_gib=memory_gib) == newest
    assert chosen(server=OLD, memory_gib=memory_gib) == old
    assert chosen(server=LITE, memory_gib=memory_gib) == "FLAT"  # which answers no query


def test_a_kind_that_the_server_lacks_is_refused_with_what_it_has():
    with pytest.raises(ValueError, match=r"got 'HNSW_SQ', from 2\.5 on, and 'v2\.3\.5-lite'.*FLAT"):
        chosen("HNSW_SQ", OLD)
    with pytest.raises(ValueError, match=r"got 'IVF_RABITQ', from 2\.6 on"):
        chosen("IVF_RABITQ", "v2.5.14")
    with pytest.raises(ValueError, match=r"got 'DISKANN', and 'milvus_lite-3\.2\.2'"):
        chosen("DISKANN", LITE)
    assert [chosen(kind, NEWEST) for kind in KINDS] == list(KINDS)
    assert known_kinds("master-20261101-abcdef") == KINDS  # it will say so itself


@pytest.mark.parametrize(
    ("kind", "built", "searched"),
    [
        ("FLAT", {}, {}),
        ("HNSW", {"M": 8, "efConstruction": 99}, {"ef": 512}),
        ("HNSW_SQ", {"M": 8, "efConstruction": 99, "sq_type": "SQ8"}, {"ef": 512}),
        ("IVF_SQ8", {"nlist": 1_024}, {"nprobe": 64}),
        (
            "IVF_RABITQ",
            {"nlist": 1_024, "refine": True, "refine_type": "SQ8"},
            {"nprobe": 64, "refine_k": 2},
        ),
        ("DISKANN", {}, {"search_list": 100}),
        ("AUTOINDEX", {}, {}),
    ],
)
def test_a_server_is_told_what_a_kind_knows(kind, built, searched):
    parameters = IndexParameters(m=8, ef_construction=99)
    config = IndexConfig(uri="http://x:1", parameters=parameters)
    [vector] = [each for each in indexes(config, kind) if each.field_name == "vector"]
    sent = vector.get_index_configs()
    assert sent == {"index_type": kind, "metric_type": "COSINE"} | built
    assert parameters.searching(kind, depth=10) == searched


@pytest.mark.parametrize(
    ("depth", "ef", "nprobe", "search_list"),
    [
        (10, 512, 64, 100),
        (128, 512, 64, 256),
        (129, 516, 64, 258),
        (1_000, 4_000, 103, 2_000),  # 4,000 rows in lists of 39
        (16_384, 32_768, 1_024, 32_768),
    ],
)
def test_a_deeper_search_looks_at_four_times_as_many_as_it_asks_for(depth, ef, nprobe, search_list):
    told = IndexParameters()
    assert told.searching("HNSW", depth=depth) == {"ef": ef}
    assert told.searching("IVF_SQ8", depth=depth) == {"nprobe": nprobe}
    assert told.searching("DISKANN", depth=depth) == {"search_list": search_list}


def test_a_parameter_out_of_range_is_refused():
    with pytest.raises(ValueError, match="ef must be > 0, got 0"):
        IndexParameters(ef=0)

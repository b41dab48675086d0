"""Tests for embedder/reasoners/cache.py: nothing is reasoned about twice."""

from embedder.content import Content
from embedder.reasoners.cache import CHUNK, CachedReasoner, MemoryStore, content_key
from embedder.reasoners.reasoner import NoRationale, Rationale


class Counting:
    """Writes each text back, remembers what it was asked; fails at "bad", is down at "down"."""

    name, prompt_version = "counting", "1"

    def __init__(self):
        self.asked = []

    def reason(self, contents, side):
        self.asked += [(side, content.text) for content in contents]
        special = {"bad": NoRationale("cannot"), "down": NoRationale("away", is_outage=True)}
        return [special.get(c.text) or Rationale(f"about {c.text}") for c in contents]


def cached(writer):
    return CachedReasoner(writer, queries=MemoryStore(), items=MemoryStore())


def test_a_content_is_reasoned_about_once_and_each_side_for_itself():
    writer = Counting()
    reasoner = cached(writer)
    contents = [Content("a"), Content("b"), Content("a")]
    expected = [Rationale("about a"), Rationale("about b"), Rationale("about a")]
    assert reasoner.reason(contents, "query") == expected
    assert reasoner.reason(contents[::-1], "query") == expected[::-1]
    assert writer.asked == [("query", "a"), ("query", "b")]
    reasoner.reason(contents, "item")
    assert writer.asked[2:] == [("item", "a"), ("item", "b")]


def test_a_failure_is_asked_for_again():
    writer = Counting()
    reasoner = cached(writer)
    for _ in range(2):
        assert reasoner.reason([Content("bad")], "item") == [NoRationale("cannot")]
    assert len(writer.asked) == 2


def test_what_was_written_before_an_outage_is_kept_and_nothing_is_asked_after_it():
    writer = Counting()
    reasoner = cached(writer)
    contents = [Content(f"t{n}") for n in range(3 * CHUNK)]
    contents[CHUNK] = Content("down")
    outcomes = reasoner.reason(contents, "item")
    assert len(writer.asked) == 2 * CHUNK
    away = NoRationale("away", is_outage=True)
    assert [row for row, o in enumerate(outcomes) if o == away] == [
        CHUNK,
        *range(2 * CHUNK, 3 * CHUNK),
    ]
    reasoner.reason(contents, "item")
    assert [text for _, text in writer.asked[2 * CHUNK :]] == [
        c.text for c in (contents[CHUNK], *contents[2 * CHUNK : -1])
    ]


def test_contents_that_differ_in_anything_have_different_keys():
    contents = [
        Content("a"),
        Content("b"),
        Content("a", b""),
        Content("a", b"b"),
        Content("ab"),
        Content("a\1b"),
        Content("", b"a"),
        Content("a", key="k"),
        Content("a", clip=b"b"),
        Content("a", b"b", gallery=(b"c",)),
        Content("a", b"b", gallery=(b"c", b"d")),
        Content("a", b"b", gallery=(b"c",), clip=b"d"),
        Content("a", audio=b"b"),
        Content("a", clip=b"c", audio=b"b"),
    ]
    assert len({content_key(content) for content in contents}) == len(contents)
    assert content_key(Content("anything", key="k")) == "k"  # the lake's digest covers all of it


def test_a_memory_forgets_what_was_not_used_for_longest():
    store = MemoryStore(max_rationales=2)
    store.keep({"a": Rationale("a"), "b": Rationale("b")})
    store.find(["a"])
    store.keep({"c": Rationale("c")})
    assert set(store.find(["a", "b", "c"])) == {"a", "c"}

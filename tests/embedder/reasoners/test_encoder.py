"""Tests for embedder/reasoners/encoder.py: own gate and vectors, another's rationales."""

import dataclasses
import threading

import numpy as np
import pytest

from embedder.content import Content
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from embedder.reasoners.cache import CachedReasoner, MemoryStore
from embedder.reasoners.encoder import ReasonedEncoder
from embedder.reasoners.given_rationales import encode_with_rationales
from embedder.reasoners.reasoner import NoRationale, Rationale, ReasonerOutage, reasoned_version

CONTENTS = [Content("3 red mugs"), Content("kites"), Content("blue boats and more")]


class Scripted:
    """Says something about every text; what `failures` names fails."""

    def __init__(self, name="scripted", prompt_version="1", **failures):
        self.name, self.prompt_version = name, prompt_version
        self.failures, self.asked = failures, []

    def reason(self, contents, side):
        self.asked += [(side, content.text) for content in contents]
        return [
            self.failures.get(c.text.split()[0]) or Rationale(f"{c.text} it is", c.text, 4)
            for c in contents
        ]


def encoder(checkpoint, reasoner, **options):
    return ReasonedEncoder(checkpoint, EmbedderConfig(**options), reasoner)


def test_a_reasoned_vector_reads_the_others_rationale_in_the_sides_own_prompt(checkpoint):
    model = encoder(checkpoint, Scripted())
    rationales = [Rationale(f"{c.text} it is", c.text) for c in CONTENTS]
    for side, encode in (("query", model.encode_query), ("item", model.encode_items)):
        expected = encode_with_rationales(checkpoint, CONTENTS, rationales, side=side)
        encodings = encode(CONTENTS, policy="always")
        np.testing.assert_allclose([e.vector for e in encodings], expected, atol=1e-5)
        assert {e.action for e in encodings} == {"reason"}
        assert [e.summary for e in encodings] == [c.text for c in CONTENTS]
        assert {e.rationale_tokens for e in encodings} == {4}


def test_the_embedders_own_gate_decides_what_the_reasoner_is_asked(checkpoint):
    own = MMEmbR1(checkpoint, EmbedderConfig()).encode_query(CONTENTS, policy="never")
    gates = [encoding.gate_probability for encoding in own]
    theta = sorted(gates)[1]
    asked = dataclasses.replace(
        checkpoint, manifest=dataclasses.replace(checkpoint.manifest, theta=theta)
    )
    reasoner = Scripted()
    encodings = encoder(asked, reasoner).encode_query(CONTENTS)
    reasoned = [gate >= theta for gate in gates]
    assert [e.action == "reason" for e in encodings] == reasoned
    expected = [("query", c.text) for c, asked in zip(CONTENTS, reasoned, strict=True) if asked]
    assert reasoner.asked == expected
    for encoding, direct, is_reasoned in zip(encodings, own, reasoned, strict=True):
        assert encoding.gate_probability == direct.gate_probability
        if not is_reasoned:
            np.testing.assert_allclose(encoding.vector, direct.vector, atol=1e-5)


def test_never_asks_nobody(checkpoint):
    reasoner = Scripted()
    encoder(checkpoint, reasoner, policy="never").encode_items(CONTENTS)
    assert reasoner.asked == []


def test_what_the_reasoner_fails_at_is_embedded_directly_and_says_why(checkpoint):
    reasoner = Scripted(kites=NoRationale("HTTP 400"))
    direct = MMEmbR1(checkpoint, EmbedderConfig()).encode_items(CONTENTS, policy="never")
    encodings = encoder(checkpoint, reasoner).encode_items(CONTENTS, policy="always")
    assert [e.action for e in encodings] == ["reason", "direct", "reason"]
    assert [e.fallback for e in encodings] == ["", "HTTP 400", ""]
    np.testing.assert_allclose(encodings[1].vector, direct[1].vector, atol=1e-5)


def test_an_outage_stops_the_catalogue_but_not_a_query(checkpoint):
    reasoner = Scripted(kites=NoRationale("refused", is_outage=True))
    model = encoder(checkpoint, reasoner, policy="always")
    assert model.encode_query(CONTENTS)[1].fallback == "refused"
    with pytest.raises(
        ReasonerOutage, match=r"'scripted' must answer.*refused; nothing was written"
    ):
        model.encode_items(CONTENTS)


def test_progress_adds_up_to_the_number_of_items(checkpoint):
    done = []
    encoder(checkpoint, Scripted()).encode_items(CONTENTS, progress=done.append)
    assert sum(done) == len(CONTENTS)


def test_the_reasoner_and_its_prompt_are_part_of_the_version(checkpoint):
    own = MMEmbR1(checkpoint, EmbedderConfig())
    reasoners = [Scripted(), Scripted("other"), Scripted(prompt_version="2")]
    versions = {encoder(checkpoint, reasoner).version for reasoner in reasoners}
    assert len(versions | {own.version}) == 4
    assert encoder(checkpoint, reasoners[0]).version == reasoned_version(
        own.version, reasoner="scripted", prompt_version="1"
    )
    assert all(version.startswith("nano-") for version in versions)


def test_a_changed_encoder_pays_for_no_reasoning_again(checkpoint):
    writer, kept = Scripted(), MemoryStore()
    encoders = [
        encoder(
            dataclasses.replace(
                checkpoint,
                manifest=dataclasses.replace(checkpoint.manifest, item_instruction=instruction),
            ),
            CachedReasoner(writer, queries=MemoryStore(), items=kept),
        )
        for instruction in ("describe", "describe it otherwise")
    ]
    first, second = (e.encode_items(CONTENTS, policy="always") for e in encoders)
    assert len(writer.asked) == len(CONTENTS)
    assert [e.rationale for e in first] == [e.rationale for e in second]
    assert not np.allclose(first[0].vector, second[0].vector, atol=1e-3)


def test_a_reasoner_that_is_too_late_is_not_waited_for_and_one_in_time_is(checkpoint):
    class Slow(Scripted):
        def reason(self, contents, side):
            assert answered.wait(timeout=30)
            return super().reason(contents, side)

    answered = threading.Event()
    model = encoder(checkpoint, Slow())
    late = model.encode_query(CONTENTS, policy="always", deadline_s=0.05)
    answered.set()
    in_time = model.encode_query(CONTENTS, policy="always", deadline_s=30)
    direct = model.encode_query(CONTENTS, policy="never")
    for one, other, reasoned in zip(late, direct, in_time, strict=True):
        assert "deadline" in one.fallback
        assert one.out_of_time
        assert one.action == "direct"
        np.testing.assert_allclose(one.vector, other.vector, atol=1e-5)
        assert (reasoned.action, reasoned.fallback) == ("reason", "")

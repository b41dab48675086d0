"""Tests for embedder/finetune/gate/target_bank.py."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from embedder.finetune.gate.target_bank import TargetBank
from embedder.finetune.training.cached_forward import CachedForward
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1


@pytest.fixture
def partners(checkpoint):
    def made(pairs, max_targets=100):
        model = CachedForward(checkpoint.backbone, checkpoint.inputs)
        return TargetBank(model, checkpoint.manifest, pairs, batch_size=3, max_targets=max_targets)

    return made


@pytest.fixture(scope="module")
def unit():
    return torch.nn.functional.normalize(torch.arange(1.0, 129.0)[None], dim=-1)


def negatives(found, keys):
    return {key for key, flag in zip(sorted(keys), found.is_negative_MN[0], strict=True) if flag}


def test_what_answers_a_query_is_no_negative_of_it_and_the_other_way_around(partners, pairs, unit):
    same = replace(pairs[0], target=pairs[1].target, target_key="other")
    more = replace(pairs[2], answers=frozenset({pairs[3].target_key}))
    given = [pairs[0], same, more, pairs[3]]
    targets = {pair.target_key for pair in given}
    queries = {pair.query_key for pair in given}
    known = partners(given)
    of_first = negatives(known.similarities(unit, [pairs[0]], "query"), targets)
    assert of_first == targets - {pairs[0].target_key, "other"}
    of_third = negatives(known.similarities(unit, [more], "query"), targets)
    assert of_third == targets - {more.target_key, pairs[3].target_key}
    of_fourth = negatives(known.similarities(unit, [pairs[3]], "item"), queries)
    assert of_fourth == queries - {more.query_key, pairs[3].query_key}


def test_cosines_are_those_with_the_embedders_direct_vectors(partners, checkpoint, pairs, unit):
    model = MMEmbR1(checkpoint, EmbedderConfig(policy="never"))
    by_key = sorted(pairs, key=lambda pair: pair.target_key)
    vectors = [x.vector for x in model.encode_items([pair.target for pair in by_key])]
    expected = unit @ torch.from_numpy(np.stack(vectors)).T
    found = partners(pairs).similarities(unit, [by_key[2]], "query")
    torch.testing.assert_close(found.others_MN, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.own_M, expected[:, 2], atol=1e-5, rtol=0)


def test_a_partner_beyond_the_candidates_is_still_found(partners, pairs, unit):
    last = max(pairs, key=lambda pair: pair.target_key)
    found = partners(pairs, max_targets=2).similarities(unit, [last], "query")
    whole = partners(pairs).similarities(unit, [last], "query")
    assert found.others_MN.shape == (1, 2)
    assert torch.equal(found.own_M, whole.own_M)

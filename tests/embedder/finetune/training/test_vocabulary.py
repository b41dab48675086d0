"""Tests for embedder/finetune/training/vocabulary.py."""

import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from embedder.content import Content
from embedder.finetune.training.version_folder import write_version
from embedder.finetune.training.vocabulary import learnt_merges, spellings, with_vocabulary
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from embedder.model.checkpoint import load

TEXTS = ["Zyzzyva Quixote vs Zyzzyva", "Quixote of the Zyzzyva"] * 5
UNTOUCHED = "3 red mugs"


def vectors(checkpoint, *texts):
    embedder = MMEmbR1(checkpoint, EmbedderConfig(policy="never"))
    return np.stack([e.vector for e in embedder.encode_items([Content(text) for text in texts])])


def test_merges_are_those_of_the_tokenizers_library():
    # Counts so large and mixed that no two pairs are equally frequent: ties it breaks otherwise.
    rng = random.Random(0)
    words = {
        "".join(rng.choices("abcd", k=rng.randint(3, 7))): rng.randint(1, 999) for _ in range(80)
    }
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(vocab_size=4 + 15, show_progress=False)
    bpe.train_from_iterator((word for word, n in words.items() for _ in range(n)), trainer)
    counts = {tuple(word): count for word, count in words.items()}
    merges = learnt_merges(counts, num_merges=15, min_count=1)
    by_id = sorted(bpe.get_vocab().items(), key=lambda entry: entry[1])
    assert ["".join(pair) for pair in merges] == [token for token, _ in by_id[4:]]


def test_rare_pairs_stay_apart():
    counts = {("a", "b"): 4, ("c", "d"): 5}
    assert learnt_merges(counts, num_merges=9, min_count=5) == [("c", "d")]


def test_words_are_counted_by_their_spelling(tokenizer):
    found = spellings(tokenizer.backend_tokenizer, ["red red", "red"])
    assert sum(found.values()) == 3
    assert {"".join(word): count for word, count in found.items()} == {"red": 2, "Ġred": 1}


def test_new_words_are_one_token_and_spell_the_same(fresh):
    checkpoint = with_vocabulary(fresh(), TEXTS, num_tokens=100)
    tokens = checkpoint.inputs.tokens("Zyzzyva")
    assert len(tokens) == 1
    for text in (*TEXTS, UNTOUCHED, "Žižek 1999"):
        assert checkpoint.inputs.tokenizer.decode(checkpoint.inputs.tokens(text)) == text


def test_only_so_many_tokens_are_added(fresh):
    before = fresh()
    after = with_vocabulary(fresh(), TEXTS, num_tokens=3)
    assert len(after.inputs.tokenizer) == len(before.inputs.tokenizer) + 3
    assert after.backbone.model.config.get_text_config().vocab_size == len(after.inputs.tokenizer)


def test_a_text_without_new_words_is_read_as_before(fresh):
    before = vectors(fresh(), UNTOUCHED)
    after = vectors(with_vocabulary(fresh(), TEXTS, num_tokens=100), UNTOUCHED)
    np.testing.assert_allclose(after, before, atol=1e-6)


def test_a_new_token_starts_between_the_two_that_it_joins(fresh):
    before, after = fresh(), with_vocabulary(fresh(), ["Zq"] * 5, num_tokens=1)
    (new,) = after.inputs.tokens("Zq")
    rows = before.backbone.model.get_input_embeddings().weight[before.inputs.tokens("Zq")]
    for layer in ("get_input_embeddings", "get_output_embeddings"):
        weight = getattr(after.backbone.model, layer)().weight
        np.testing.assert_allclose(weight[new], rows.mean(dim=0), atol=1e-7)


def test_two_ways_to_one_word_are_one_token(fresh):
    # "ab" and "bc" come first, so "abc" is spelled ab + c in one word and a + bc behind another b.
    counts = Counter({("a", "b"): 9, ("a", "b", "c"): 5, ("b", "c"): 9})
    merges = learnt_merges(counts, num_merges=9, min_count=1)
    assert len({"".join(pair) for pair in merges}) == len(merges)
    after = with_vocabulary(fresh(), TEXTS, num_tokens=100)
    ids = after.inputs.tokenizer.get_vocab().values()
    assert sorted(ids) == list(range(len(after.inputs.tokenizer)))


def test_control_tokens_in_a_text_stay_plain(fresh):
    checkpoint = with_vocabulary(fresh(), ["<|emb|> < |emb|>"] * 9, num_tokens=50)
    sample = checkpoint.inputs.sample(Content("<|emb|>"), "find the item")
    assert checkpoint.inputs.emb_id not in sample.tokens


def test_a_saved_version_reads_the_new_words(fresh, tmp_path):
    checkpoint = with_vocabulary(fresh(), TEXTS, num_tokens=100)
    write_version(checkpoint.backbone, checkpoint, tmp_path, manifest=checkpoint.manifest)
    loaded = load(str(tmp_path))
    assert loaded.inputs.tokens(TEXTS[0]) == checkpoint.inputs.tokens(TEXTS[0])
    np.testing.assert_allclose(
        vectors(loaded, *TEXTS[:2]), vectors(checkpoint, *TEXTS[:2]), atol=1e-6
    )


def test_a_tokenizer_without_pairs_is_refused(fresh):
    checkpoint = fresh()

    class Words:
        backend_tokenizer = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))

    checkpoint = replace(checkpoint, inputs=type("In", (), {"tokenizer": Words()})())
    with pytest.raises(ValueError, match="of type BPE"):
        with_vocabulary(checkpoint, TEXTS, num_tokens=1)

"""Tests for embedder/small: the student's first vectors are weighted means of whitened rows."""

import pytest
import torch

from embedder.content import Content
from embedder.small import architecture
from embedder.small.components import components
from embedder.small.student import CONTENT, bag_of_words, grown
from tests.tiny_encoders import write_text_model

TEXTS = ["red mugs", "red kites", "3 blue boats", "red boats", "red red mugs"]


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    return bag_of_words(write_text_model(tmp_path_factory.mktemp("teacher")), TEXTS)


def vectors(student, texts):
    with torch.inference_mode():
        return student.vectors([student.sample(Content(text)) for text in texts])


def test_the_tokenizer_knows_word_pieces_and_control_tokens_and_no_markers_of_bert(student):
    tokenizer = student.inputs.tokenizer
    known = tokenizer.get_vocab()
    assert {"red", "mugs", "[UNK]", "<|emb|>"} <= set(known)
    assert not {"[CLS]", "[SEP]", "[MASK]", "[PAD]"} & set(known)
    assert student.inputs.tokens("Red MUGS") == [known["red"], known["mugs"]]


def test_a_vector_is_the_mean_of_rows_weighted_by_how_rare_they_are(student):
    """By hand: exp of the logit that the angle of a key holds, times the row's content."""
    rows = student.backbone.model.get_input_embeddings().weight.detach()
    logit = 8 * rows[:, -1] / torch.sqrt(rows[:, -1] ** 2 + rows[:, -2] ** 2)
    expected = []
    for text in TEXTS:
        tokens = torch.tensor(student.sample(Content(text)).tokens)
        normed = rows[tokens] / rows[tokens].square().mean(dim=1, keepdim=True).sqrt()
        mean = torch.softmax(logit[tokens], dim=0) @ normed[:, :CONTENT]
        expected.append(mean / mean.norm())
    found = vectors(student, TEXTS)
    torch.testing.assert_close(found[:, :CONTENT], torch.stack(expected), atol=1e-4, rtol=0)
    assert (found[:, CONTENT:] == 0).all()


def test_a_piece_of_many_texts_weighs_less(student):
    tokens = student.inputs.tokenizer.get_vocab()
    rows = student.backbone.model.get_input_embeddings().weight.detach()
    angle = rows[:, -1] / rows[:, -2]
    assert angle[tokens["red"]] < angle[tokens["kites"]]
    assert angle[tokens["describe"]] < angle[tokens["red"]]  # of the prompt, so of every text


def test_more_layers_add_nothing_at_first(student):
    taller = grown(student)
    assert len(taller.backbone.model.model.language_model.layers) == architecture.NUM_LAYERS
    torch.testing.assert_close(vectors(taller, TEXTS), vectors(student, TEXTS), atol=1e-6, rtol=0)


def test_vectors_keep_the_order_of_texts_of_different_lengths(student):
    texts = ["red " * n + "boats" for n in (9, 1, 30, 4)]
    alone = torch.cat([vectors(student, [text]) for text in texts])
    torch.testing.assert_close(vectors(student, texts), alone, atol=1e-5, rtol=0)


def test_components_are_those_of_scikit_learn_up_to_their_sign():
    from sklearn.decomposition import PCA

    features = torch.randn(50, 6, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 7)
    pca = PCA(4).fit(features.numpy())
    expected = torch.from_numpy(pca.transform(features.numpy())).float()
    found = components(features, 4, power=0)
    torch.testing.assert_close(found.abs(), expected.abs(), atol=1e-3, rtol=0)
    whitened = components(features, 4, power=1)
    torch.testing.assert_close(whitened.square().mean(dim=0), torch.ones(4))


def test_components_that_features_lack_are_zero():
    features = torch.randn(9, 2, generator=torch.Generator().manual_seed(0))
    found = components(features, 5, power=1)
    assert (found[:, 2:] == 0).all()
    assert found[:, :2].abs().min() > 0

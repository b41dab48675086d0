"""Tests for evaluation/mteb through the `mteb` library itself, whose import takes seconds."""

import io
import json
import socket

import numpy as np
import pytest
from PIL import Image

from bench.mteb_tasks import METRICS, RetrievalTask, measured, own_scores, write_task
from embedder.content import Content
from evaluation.mteb.costs import CostFile
from evaluation.mteb.encoder import PolicyEncoder
from evaluation.mteb.evaluation import evaluate_tasks
from evaluation.mteb.tasks import find_tasks

pytest.importorskip("mteb", reason="mteb is not installed; pip install 'ponder[mteb]'")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # of mteb, datasets and what they bring
]
POLICIES = {"never": {}, "auto": {}, "always": {}}


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path_factory):
    """Nothing is fetched, and what `datasets` makes of files is not kept in the user's home."""
    import datasets

    def refuse(*args):
        raise AssertionError(f"a local task must not connect to {args}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))


def jpeg(rng):
    file = io.BytesIO()
    colour = rng.integers(0, 255, 3, dtype=np.uint8)
    Image.fromarray(np.broadcast_to(colour, (16, 12, 3))).save(file, "JPEG")
    return file.getvalue()


def random_task(kind, seed=0):
    """Words, colours or both; graded; with documents that are equal, which tie."""
    rng = np.random.default_rng(seed)
    words = np.array(["red", "blue", "kite", "boat", "mug", "tin", "old", "tall"])

    def content(side):
        text = " ".join(rng.choice(words, 3)) if "t" in side else ""
        return Content(text, jpeg(rng) if "i" in side else None)

    asks, shows = kind.split("2")
    queries = {f"q{n}": content(asks) for n in range(30)}
    corpus = {f"d{n}": content(shows) for n in range(80)}
    corpus |= {f"e{n}": corpus[f"d{n}"] for n in range(20)}
    right = [
        (query, document, int(rng.integers(1, 4)))
        for query in queries
        for document in rng.choice(list(corpus), rng.integers(1, 6), replace=False)
    ]
    return RetrievalTask(queries, corpus, right)


def written(folder, task):
    write_task(folder, task)
    return f"local:{folder}"


@pytest.mark.parametrize("kind", ["t2t", "t2i", "it2it"])
def test_scores_equal_our_own_metrics(encoder, tmp_path, kind):
    task = random_task(kind)
    name = written(tmp_path / kind, task)
    evaluation = evaluate_tasks([name], encoder, conditions=POLICIES, folder=tmp_path / "kept")
    [done] = evaluation.tasks
    assert (done.task, done.metric, done.error) == (kind, "ndcg_at_10", "")
    for policy, score in done.policies.items():
        [kept] = json.loads(score.path.read_text())["scores"]["test"]
        by_mteb = {metric: kept[metric] for metric in METRICS}
        expected = own_scores(task, encoder, policy)
        assert by_mteb == pytest.approx(expected, abs=5.1e-6)  # mteb keeps five decimals
        assert score.main_score == pytest.approx(by_mteb["ndcg_at_10"], abs=1e-6)
        assert evaluation.means[policy] == score.main_score
    assert done.policies["never"].main_score != done.policies["always"].main_score
    assert done.policies["always"].cost.query.reason_rate == 1


def test_every_query_has_the_ndcg_that_we_give_it(encoder, tmp_path):
    from mteb._evaluators import RetrievalEvaluator
    from mteb.models import SearchEncoderWrapper
    from mteb.timing import TimingStack

    task = random_task("it2it")
    [loaded] = find_tasks(written(tmp_path / "kites", task), links=tmp_path / "links")
    loaded.load_data()
    data = loaded.dataset["default"]["test"]
    costs = CostFile(tmp_path / "costs.json")
    model = PolicyEncoder(encoder, "never", conditions={}, cost_file=lambda name: costs)
    evaluator = RetrievalEvaluator(
        *(data["corpus"], data["queries"]),
        task_metadata=loaded.metadata,
        hf_split="test",
        hf_subset="default",
        top_k=1000,
        timer=TimingStack(),
    )
    results = evaluator(SearchEncoderWrapper(model), encode_kwargs={"batch_size": 7})
    by_query = evaluator.evaluate(data["relevant_docs"], results, [10])[0]
    expected = measured(task, encoder, "never")
    for by_mteb, ours in (("ndcg_cut_10", "ndcg@10"), ("recall_10", "recall@10")):
        got = [by_query[query][by_mteb] for query in sorted(task.queries)]
        np.testing.assert_allclose(got, expected[ours], atol=1e-6, rtol=0)


def test_what_was_run_is_not_run_again_until_the_data_change(encoder, tmp_path):
    name = written(tmp_path / "kites", random_task("t2t"))
    kept = tmp_path / "kept"
    once = evaluate_tasks([name], encoder, conditions=POLICIES, folder=kept)
    so_far = encoder.num_encoded
    again = evaluate_tasks([name], encoder, conditions=POLICIES, folder=kept)
    assert encoder.num_encoded == so_far + 1  # what warms it
    for policy, score in again.tasks[0].policies.items():
        before = once.tasks[0].policies[policy]
        assert score.main_score == pytest.approx(before.main_score, abs=1e-6)
        assert (score.cost, score.path) == (before.cost, before.path)

    budget = {"auto": {"query_theta": 0.3}}
    evaluate_tasks([name], encoder, conditions=budget, folder=kept)
    assert encoder.num_encoded == so_far + 2 + 130

    written(tmp_path / "kites", random_task("t2t", seed=1))  # files of the same names and sizes
    changed = evaluate_tasks([name], encoder, conditions={"never": {}}, folder=kept)
    assert encoder.num_encoded == so_far + 3 + 260
    assert changed.tasks[0].policies["never"].main_score != pytest.approx(
        once.tasks[0].policies["never"].main_score, abs=1e-6
    )


def test_a_task_that_fails_does_not_keep_others_from_running(encoder, tmp_path):
    broken = random_task("t2t")
    broken.corpus.update({name: Content("unreadable") for name in broken.corpus})
    names = [
        written(tmp_path / "broken", broken),
        written(tmp_path / "whole", random_task("t2t")),
    ]
    evaluation = evaluate_tasks(names, encoder, conditions={"never": {}}, folder=tmp_path / "kept")
    assert [task.error for task in evaluation.tasks] == ["ValueError: unreadable", ""]
    assert [list(task.policies) for task in evaluation.tasks] == [[], ["never"]]
    assert evaluation.means == {}


def test_a_public_task_runs_on_data_from_a_folder(encoder, tmp_path):
    written(tmp_path / "nfcorpus", random_task("t2t"))
    name = f"NFCorpus={tmp_path / 'nfcorpus'}"
    evaluation = evaluate_tasks([name], encoder, conditions={"never": {}}, folder=tmp_path / "kept")
    [done] = evaluation.tasks
    assert (done.task, done.error) == ("NFCorpus", "")
    assert done.policies["never"].cost.item.num_contents == 100


def test_a_benchmark_stands_for_its_tasks(tmp_path):
    names = {task.metadata.name for task in find_tasks("NanoBEIR", links=tmp_path)}
    assert {"NanoNFCorpusRetrieval", "NanoSciFactRetrieval"} <= names


def test_an_unknown_name_is_told_what_comes_near(tmp_path):
    with pytest.raises(ValueError, match=r"got 'NFCorpu'.*Did you mean: 'NFCorpus'"):
        find_tasks("NFCorpu", links=tmp_path)


@pytest.mark.parametrize("lacks", ["folder", "README.md", "queries", "columns"])
def test_a_folder_that_holds_no_task_is_refused(tmp_path, lacks):
    folder = tmp_path / "task"
    if lacks != "folder":
        task = random_task("t2t")
        if lacks == "columns":
            task = RetrievalTask(task.queries, {"d0": Content()}, task.relevance)
        write_task(folder, task)
    if lacks == "README.md":
        (folder / "README.md").unlink()
    if lacks == "queries":
        card = (folder / "README.md").read_text()
        (folder / "README.md").write_text(card.replace("name: queries", "name: asked"))
    with pytest.raises(ValueError, match=r"must be a folder|must have"):
        find_tasks(f"local:{folder}", links=tmp_path / "links")

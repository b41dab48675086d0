"""Tests for ponder/wiring/encoder.py: another kind of embedder goes through the whole pipeline."""

import pytest

from ponder.reports.reasoning.report import embedder_report
from ponder.reports.run.page import write_html
from ponder.settings import Settings
from ponder.steps.evaluate import evaluate
from ponder.steps.recall import recall
from ponder.wiring.encoder import configured_version, open_encoder

pytest.importorskip("sentence_transformers", reason="the extra sentence-transformers is missing")
from embedder.sentence.export import export


@pytest.fixture(scope="module")
def sentence_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "nano"
    export("nano", folder)
    return f"st:{folder}"


def test_a_sentence_transformers_model_goes_through_the_whole_pipeline(
    settings, sentence_model, bazaar, night
):
    settings = settings.replace(model=sentence_model)
    _, embedded, synced = night(settings, bazaar)
    assert embedded == synced.upserted > 0
    judged = evaluate(settings, bazaar / "queries.jsonl")
    assert judged.queries.policies["always"].reason_rate == 0
    # These are nano's own vectors in direct mode, so what it finds directly is found here.
    own = settings.replace(model="nano", policy="never", home=settings.home / "own")
    night(own, bazaar)
    expected = evaluate(own, bazaar / "queries.jsonl").queries.policies["never"]
    assert judged.queries.policies["never"].slices == expected.slices
    assert recall(settings, {"text": "3 red mugs", "top_k": 3}).action == "direct"
    assert write_html(settings).name == "report.html"


def test_its_version_is_known_without_loading_it(tmp_path, sentence_model):
    settings = Settings(home=tmp_path, model=sentence_model)
    encoder = open_encoder(settings)
    assert encoder.version == configured_version(settings)
    assert encoder.version.startswith("nano-")
    assert open_encoder(settings) is encoder  # loaded once
    half = settings.replace(dtype="bfloat16")
    assert open_encoder(half).version == configured_version(half) != encoder.version


def test_the_version_of_a_gpu_is_not_that_of_a_cpu_unless_both_are_told_what_to_load(tmp_path):
    on_cpu, on_gpu = Settings(home=tmp_path), Settings(home=tmp_path, device="cuda")
    assert configured_version(on_gpu) != configured_version(on_cpu)
    assert configured_version(on_gpu.replace(dtype="float32")) == configured_version(on_cpu)
    half = on_cpu.replace(dtype="bfloat16")
    assert configured_version(on_gpu) == configured_version(half) == open_encoder(half).version


def test_it_knows_how_many_processes_share_the_cores(tmp_path):
    crowded = open_encoder(Settings(home=tmp_path), num_processes=10_000)
    assert crowded._engine._prefetch.num_workers == 0


def test_it_cannot_be_asked_for_an_account_of_its_reasoning(tmp_path, sentence_model, bazaar):
    settings = Settings(home=tmp_path, model=sentence_model)
    with pytest.raises(ValueError, match="must be one that reasons"):
        embedder_report(settings, bazaar, tmp_path / "out")

"""Tests for ponder/finetuning/heads.py: two frozen encoders become a version that is served."""

import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("sentence_transformers", reason="the extra sentence-transformers is missing")
from embedder.content import Content
from embedder.pair.encoder import PairEncoder
from ponder.cli.app import app
from ponder.finetuning.promotion import PromotionConfig
from ponder.finetuning.recipes import configured, recipe_of
from ponder.finetuning.results import ComputedFeatures, Evaluation, RegisteredVersion
from ponder.finetuning.run import Run
from ponder.finetuning.short_options import short_changes
from ponder.finetuning.stages import STAGES, run_stage
from ponder.settings import Settings
from ponder.steps.evaluate import evaluate
from ponder.steps.recall import recall
from ponder.wiring.encoder import configured_manifest, configured_version, open_encoder
from tests.tiny_encoders import write_lite0, write_text_model

ANYTHING = PromotionConfig(min_gain=-1, max_loss=1.1, max_literal_loss=1, min_sensitivity=0)
FEW = short_changes({"steps": 6, "batch_size": 8, "max_pairs": 24})


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frozen")
    return f"pair:{write_text_model(folder / 'text')},{write_lite0(folder / 'image')}"


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return Settings(home=tmp_path_factory.mktemp("home"), promotion=ANYTHING)


@pytest.fixture(scope="module")
def finished(settings, base, bazaar):
    """A run that was killed while features were computed, and in the training."""
    folder, changes = settings.home / "finetune" / "heads", FEW | {"data": str(bazaar)}

    def opened():
        return Run.start(settings, folder, base=base, changes=changes)

    def die(done):
        if done:
            raise Killed

    for stage in STAGES:
        if stage in ("features", "joint"):
            with pytest.raises(Killed):
                run_stage(opened(), stage, progress=die)
        run_stage(opened(), stage)
    return opened()


@pytest.fixture(scope="module")
def name(finished):
    return finished.result("register", RegisteredVersion).name


def test_the_recipe_of_a_pair_is_its_own(finished, name, base):
    assert recipe_of(base) == finished.config.recipe == "pair"
    assert recipe_of(str(finished.registry.path(name))) == "pair"


def test_features_are_computed_once_for_each_text_and_image(finished):
    texts = {pair.query.text for pair in finished.pairs}
    images = {pair.target.image for pair in finished.pairs}
    assert finished.result("features", ComputedFeatures) == ComputedFeatures(
        texts=len(texts), images=len(images)
    )
    # The text model has a prompt for each side.
    files = {path.name for path in (finished.folder / "features").glob("*.npy")}
    assert files == {"texts-query.npy", "texts-item.npy", "images.npy"}


def test_it_is_judged_against_what_is_served(finished):
    evaluation = finished.result("evaluate", Evaluation)
    assert evaluation.champion == configured_version(finished.settings)
    (compared,) = (c for n, c in evaluation.sets.items() if not n.startswith("after-"))
    assert (compared.candidate.reason_rate, compared.sensitivity) == (0, {})
    assert compared.candidate.version == finished.result("register", RegisteredVersion).name


def test_the_registered_version_is_served_as_any_other(finished, name, bazaar, night, tmp_path):
    settings = finished.settings.replace(model=f"registry:{name}", shard_size=25)
    encoder = open_encoder(settings)
    assert isinstance(encoder, PairEncoder)
    assert (encoder.version, encoder.dims) == (name, (64, 128, 256))
    assert name == configured_version(settings)
    assert configured_manifest(settings).theta == 1
    _, embedded, synced = night(settings, bazaar)
    assert embedded == synced.upserted > 0
    assert recall(settings, {"text": "3 red mugs", "top_k": 3}).action == "direct"
    judged = evaluate(settings, bazaar / "queries.jsonl").queries.policies
    assert judged["always"].slices == judged["never"].slices
    with pytest.raises(ValueError, match="reads no rationales"):
        open_encoder(settings.replace(reasoner="openai:m", reasoner_url="http://127.0.0.1:9/v1"))


def test_the_lineage_names_both_encoders(finished, name):
    lineage = finished.registry.manifest(name)["lineage"]
    assert lineage["base"].startswith("pair:saved-")
    assert ",image-" in lineage["base"]
    assert lineage["config"]["heads"]["dim"] == 256
    assert lineage["stages"]["joint"]["steps"] == 6


def test_a_version_is_trained_on(finished, name, bazaar, tmp_path):
    run = Run.start(
        finished.settings,
        tmp_path / "run",
        base=f"registry:{name}",
        changes=FEW | {"data": str(bazaar), "joint.learning_rate": 1e-9},
    )
    for stage in STAGES:
        run_stage(run, stage)
        if stage == "joint":
            break
    before, after = (
        PairEncoder.open(folder).encode_query([Content("3 red mugs")])[0].vector
        for folder in (finished.registry.path(name), run.version("joint"))
    )
    np.testing.assert_allclose(before, after, atol=1e-4)  # it began where the other ended


def test_a_version_holds_its_encoders(finished, name, tmp_path):
    moved = shutil.copytree(finished.registry.path(name), tmp_path / "moved")
    content = [Content("blue kites")]
    np.testing.assert_array_equal(
        PairEncoder.open(moved).encode_query(content)[0].vector,
        PairEncoder.open(finished.version("joint")).encode_query(content)[0].vector,
    )


@pytest.mark.parametrize(
    ("base", "recipe", "message"),
    [
        ("nano", "pair", "heads are trained over frozen encoders and over nothing else"),
        ("pair:a,b", "gentle", "heads are trained over frozen encoders and over nothing else"),
        ("pair:a", "pair", "must name a text encoder and an image encoder"),
    ],
)
def test_a_recipe_for_another_kind_of_base_is_refused(settings, tmp_path, base, recipe, message):
    with pytest.raises(ValueError, match=message):
        Run.start(settings, tmp_path, base=base, recipe=recipe, changes={})


@pytest.mark.parametrize(
    "change", [{"behaviour.learns": True}, {"vocabulary.num_tokens": 9}, {"gate.num_steps": 3}]
)
def test_what_heads_cannot_learn_is_refused(change):
    with pytest.raises(ValueError, match="heads learn by the contrast of direct embeddings alone"):
        configured(change, recipe="pair")


def test_the_command_goes_on_with_the_run(finished, name, base):
    options = ["--base", base, "--out", str(finished.folder), "--data", finished.config.data]
    options += ["--steps", "6", "--batch-size", "8", "--max-pairs", "24", "--json"]
    result = CliRunner().invoke(app, ["--home", str(finished.settings.home), "finetune", *options])
    assert json.loads(result.stdout)["register"]["name"] == name

"""Tests for ponder/finetuning/stages.py: nano fine-tuned on a tiny bazaar, killed on the way."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from catalog.lake.tables import GENERATED_RATIONALES, ITEMS
from embedder.content import Content
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from embedder.version import SHIPPED, read_manifest
from evaluation.bootstrap import Interval
from evaluation.query_sets import Query
from features.histories import HistoryConfig, positive_events
from ponder.cli.app import app
from ponder.finetuning.behaviour import objectives
from ponder.finetuning.frozen_set import freeze
from ponder.finetuning.negatives import hardened
from ponder.finetuning.outcome import PromotionRefused, lineage, promote
from ponder.finetuning.promotion import Check
from ponder.finetuning.results import Evaluation, FinishedTraining
from ponder.finetuning.run import Run
from ponder.finetuning.stages import STAGES, run_stage
from ponder.json_form import json_form
from ponder.settings import Settings
from ponder.steps.recall import recall
from ponder.wiring.encoder import configured_version, open_encoder
from tests.ponder.finetuning.tiny_run import BEFORE, changed, killed_after, options_of, registered


def test_a_killed_training_ends_as_one_that_was_not(finished, settings, config):
    folder = settings.home / "finetune" / "whole"
    shutil.copytree(settings.home / "finetune" / "before_joint", folder)
    shutil.rmtree(folder / "joint")
    run_stage(Run.open(settings, config, folder), "joint")
    whole, killed = (
        (path / "joint" / "version" / "model.safetensors").read_bytes()
        for path in (folder, finished.folder)
    )
    assert whole == killed
    assert whole != (SHIPPED["nano"] / "model.safetensors").read_bytes()


def test_negatives_are_mined_with_the_base_and_again_with_the_joint_model(finished):
    from embedder.finetune.data.hard_negatives import with_hard_negatives

    for stage, model in (("negatives", "nano"), ("fresh_negatives", finished.version("joint"))):
        encoder = MMEmbR1.open(EmbedderConfig(model=str(model)))
        expected, _ = with_hard_negatives(finished.pairs, lambda _, e=encoder: e, num_negatives=2)
        assert [pair.negatives for pair in hardened(finished, stage)] == [
            pair.negatives for pair in expected
        ]
    assert hardened(finished, "negatives") != hardened(finished, "fresh_negatives")


def test_the_gates_training_replays_the_fresh_negatives(finished, settings, config, tmp_path):
    shutil.copytree(finished.folder, tmp_path / "run")
    run = Run.open(settings, config, tmp_path / "run")
    mined = run.folder / "fresh_negatives" / "negatives.parquet"
    pl.read_parquet(mined).clear().write_parquet(mined)
    shutil.rmtree(run.folder / "gate")
    run_stage(run, "gate")
    logs = [json.loads((x.folder / "gate" / "log.jsonl").read_text()) for x in (finished, run)]
    # Fewer negatives to be told from, and everything else is the same.
    assert logs[1]["gate/replay/direct_direct"] < logs[0]["gate/replay/direct_direct"]
    assert logs[1]["gate/query/reward"] == logs[0]["gate/query/reward"]


def test_the_version_offers_a_content_space_and_a_behaviour_space(finished):
    manifest = finished.registry.manifest(registered(finished).name)
    assert list(manifest["instructions"]) == ["behaviour"]
    (line, *_) = (finished.folder / "joint" / "log.jsonl").read_text().splitlines()
    assert {"joint/sequence", "joint/id", "joint/behaviour_gate"} <= set(json.loads(line))
    lineage = manifest["lineage"]
    assert lineage["config"]["behaviour"]["objective"]["batch_size"] == 2
    assert lineage["stages"]["behaviour"]["is_learnt"]
    (name,) = lineage["evaluation"]["behaviour"]
    assert name == "after-20260309T000000"
    spaces = lineage["evaluation"]["behaviour"][name]["metrics"]
    assert set(spaces) == {"behaviour", "content"}  # nano, which it met, has no such space


def test_behaviour_is_learnt_from_what_lies_before_the_split(finished):
    likes = pl.read_parquet(finished.folder / "behaviour" / "sequences.parquet")
    assert likes["ts"].max().isoformat() < BEFORE
    assert set(likes["target"]) <= set(finished.contents)


def test_an_items_place_has_the_cosines_of_behaviour(finished):
    from embedder.finetune.data.behaviour_targets import behaviour_vectors

    places = pl.read_parquet(finished.folder / "behaviour" / "places.parquet")
    positives = positive_events(finished.events, config=HistoryConfig())
    before = datetime.fromisoformat(BEFORE)
    num_liked = positives.filter(pl.col("ts") < before)["item_id"].n_unique()
    expected = behaviour_vectors(positives, before=before, dim=num_liked - 1)
    expected = places.select("item_id").join(expected, on="item_id", maintain_order="left")
    found, wanted = (np.array(frame["vector"].to_list()) for frame in (places, expected))
    np.testing.assert_allclose(found @ found.T, wanted @ wanted.T, atol=1e-5)


@pytest.mark.parametrize("change", [{"behaviour.learns": False}, {"pairs.max_pairs": 1}])
def test_without_likes_or_the_wish_no_behaviour_is_learnt(finished, settings, tmp_path, change):
    shutil.copytree(finished.folder, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "behaviour")
    run = Run(settings, changed(finished.config, change), tmp_path / "run")
    assert run_stage(run, "behaviour").is_learnt is False
    assert objectives(run, read_manifest(finished.version("joint"))) == []
    assert lineage(run)["stages"]["behaviour"]["is_learnt"] is False


def test_items_can_be_taught_their_places_one_by_one(finished, settings, tmp_path):
    from embedder.finetune.data.behaviour_targets import behaviour_vectors, with_popularity

    shutil.copytree(finished.folder, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "behaviour")
    change = {"behaviour.places.batch_size": 4, "behaviour.popularity_share": 0.5}
    run = Run(
        settings, changed(finished.config, change | {"behaviour.max_dim": 5}), tmp_path / "run"
    )
    likes = run_stage(run, "behaviour")
    (objective,) = objectives(run, read_manifest(finished.version("joint")))
    assert likes.placed == len(pl.read_parquet(run.folder / "behaviour" / "places.parquet"))
    assert len(set(objective.drawn(0))) == 4
    positives = positive_events(finished.events, config=HistoryConfig())
    before = datetime.fromisoformat(BEFORE)
    plain = behaviour_vectors(positives, before=before, dim=5)
    popular = with_popularity(plain, positives, before=before, share=0.5)
    places = pl.read_parquet(run.folder / "behaviour" / "places.parquet")
    for name, expected in (("vector", popular), ("liked", plain)):
        wanted = places.select("item_id").join(expected, on="item_id", maintain_order="left")
        found, wanted = np.array(places[name].to_list()), np.array(wanted["vector"].to_list())
        np.testing.assert_allclose(found @ found.T, wanted @ wanted.T, atol=1e-5)


def test_a_selection_that_keeps_all_asks_no_judge(finished, settings, tmp_path):
    shutil.copytree(finished.folder, tmp_path / "run")
    for stage in ("judging", "selection"):
        shutil.rmtree(tmp_path / "run" / stage)
    run = Run(settings, changed(finished.config, {"selection.keeps": "all"}), tmp_path / "run")
    judged = run_stage(run, "judging")
    assert judged.judge == ""
    assert run_stage(run, "selection").pairs["direct_only"] == 0
    selected = pl.read_parquet(run.folder / "selection" / "selected.parquet")
    assert len(selected) == judged.rationales
    assert selected["kept"].all()
    weights = selected.group_by("pair_id", "side").agg(pl.col("weight").sum())["weight"]
    np.testing.assert_allclose(weights, 1)


def test_the_vocabulary_is_extended_before_anything_is_read(finished, settings, tmp_path):
    shutil.copytree(finished.folder, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "vocabulary")
    names = ("num_tokens", "min_count", "max_text_tokens")
    change = {f"vocabulary.{name}": value for name, value in zip(names, (7, 1, 33), strict=True)}
    run = Run(settings, changed(finished.config, change), tmp_path / "run")
    assert run_stage(run, "vocabulary").new_tokens == 7
    assert run.base == str(run.version("vocabulary"))
    extended, nano = run.load(run.base), run.load("nano")
    assert len(extended.inputs.tokenizer) == len(nano.inputs.tokenizer) + 7
    assert extended.manifest.max_text_tokens == extended.inputs.max_text_tokens == 33


def test_no_worker_was_asked_twice(finished):
    written = finished.lake.read(GENERATED_RATIONALES)
    assert len(written) == finished.result("rationales", STAGES["rationales"].result).rationales
    assert written.select(GENERATED_RATIONALES.key).is_unique().all()


def test_a_finished_stage_is_not_run_again(finished):
    results = [run_stage(finished, name, progress=killed_after(0)) for name in STAGES]
    assert results == [finished.done(name, stage.result) for name, stage in STAGES.items()]


def test_a_run_with_another_configuration_is_refused(finished, settings, config):
    with pytest.raises(ValueError, match=r"other joint.num_steps: \[4\]; choose another"):
        Run.open(settings, changed(config, {"joint.num_steps": 5}), finished.folder)


def test_the_folders_questions_and_later_events_are_frozen(finished, bazaar):
    sets = finished.result("evaluate", Evaluation).sets
    after, asked = sorted(sets)
    assert asked.startswith(f"{bazaar.name}-")
    assert after == "after-20260309T000000"
    pairs = pl.read_parquet(finished.folder / "pairs" / "pairs.parquet")
    assert pairs["ts"].max().isoformat() < BEFORE


def test_what_came_after_another_runs_split_is_not_asked(settings, config, tmp_path):
    sets = tmp_path / "home" / "evaluation"
    for name in ("after-20200101T000000", "mine"):
        sets.mkdir(parents=True, exist_ok=True)
        query = Query(query_id="q", text="mug", relevant=["a"])
        freeze([query], {"a": Content("mug")}, sets / name)
    run = Run.open(settings.replace(home=tmp_path / "home"), config, tmp_path / "run")
    names = run_stage(run, "pairs").sets
    assert "mine" in names
    assert [name for name in names if name.startswith("after-")] == ["after-20260309T000000"]


def test_stages_learn_from_the_lake_as_it_was_and_from_their_own_workers(
    finished, settings, config, tmp_path
):
    shutil.copytree(finished.folder, tmp_path / "run")
    run = Run.open(settings, config, tmp_path / "run")
    run.lake.delete(ITEMS, run.lake.read(ITEMS))
    foreign = run.lake.read(GENERATED_RATIONALES).with_columns(worker=pl.lit("of another run"))
    run.lake.insert_new(GENERATED_RATIONALES, foreign)
    shutil.rmtree(run.folder / "selection")
    shutil.rmtree(run.folder / "judging")
    for stage in ("judging", "selection"):
        assert run_stage(run, stage) == finished.done(stage, STAGES[stage].result)
    selected = pl.read_parquet(run.folder / "selection" / "selected.parquet")
    assert "of another run" not in selected["worker"]
    assert run.items.equals(finished.items)


def test_the_lineage_says_where_the_version_comes_from(finished):
    manifest = json.loads(
        (finished.registry.path(registered(finished).name) / "manifest.json").read_text()
    )
    lineage = manifest["lineage"]
    assert manifest["name"] == "tuned"
    assert lineage["base"] == configured_version(Settings())
    assert lineage["recipe"] == "gentle"
    assert lineage["stages"]["pairs"]["pairs"]["title_image"] == 24
    assert lineage["config"]["joint"]["num_steps"] == lineage["stages"]["joint"]["steps"] == 4
    assert lineage["config"]["seed"] == 0
    digests = {
        path.parent.name: path.read_text().strip() for path in finished.sets_folder.glob("*/digest")
    }
    assert lineage["evaluation"]["sets"] == digests


def test_a_version_is_no_better_than_itself(finished, settings):
    from ponder.finetuning.comparison import compare
    from ponder.finetuning.frozen_set import read_frozen_set

    nano = MMEmbR1.open(EmbedderConfig())
    for path in finished.sets_folder.glob("*/digest"):
        report = compare(read_frozen_set(path.parent), nano, nano, policy="auto")
        for slice_gain in report.gain.values():
            assert all(gain == Interval(0, 0, 0) for gain in slice_gain.values())
        assert report.candidate == report.champion


def test_the_champion_is_what_ponder_serves_while_it_is_live(
    finished, refused, settings, bazaar, night
):
    chosen = promote(finished)
    assert chosen == registered(finished).name
    following = settings.replace(model="registry:champion")
    assert configured_version(following) == chosen
    assert open_encoder(following).version == chosen
    night(following, bazaar)
    # Another champion: the service goes on with the one that is live.
    settings.registry.promote(refused)
    assert configured_version(following) == refused
    assert recall(following, {"text": "a red mug", "top_k": 3}).version == chosen


def test_the_registered_version_encodes_what_the_trained_one_did(finished, settings):
    model = f"registry:{registered(finished).name}"
    trained = finished.version("gate")
    vectors = [
        open_encoder(settings.replace(model=name)).encode_query([Content("3 red mugs")])[0].vector
        for name in (model, str(trained))
    ]
    assert np.array_equal(*vectors)


def test_what_the_rules_are_against_is_not_promoted(finished, settings, tmp_path):
    folder = tmp_path / "refused"
    shutil.copytree(finished.folder, folder)
    run = Run.open(settings, finished.config, folder)
    before = settings.registry.champion()
    evaluation = replace(
        run.result("evaluate", Evaluation),
        promoted=False,
        checks=(Check("gain", False, "no better"),),
        opponent=before,
    )
    run.finish("evaluate", evaluation)
    with pytest.raises(PromotionRefused, match="is not promoted: no better"):
        promote(run)
    assert settings.registry.champion() == before


def test_who_was_compared_with_another_champion_is_not_promoted(
    finished, refused, settings, tmp_path
):
    home = tmp_path / "home"
    shutil.copytree(settings.home / "models", home / "models")
    run = Run(settings.replace(home=home), finished.config, finished.folder)
    run.registry.promote(refused)
    with pytest.raises(PromotionRefused, match=f"the present champion, {refused}, and was with"):
        promote(run)
    assert run.registry.champion() == refused


def test_the_command_goes_on_with_a_run_and_shows_its_version(finished, settings):
    def ponder(*arguments):
        return CliRunner().invoke(app, ["--home", str(settings.home), *arguments])

    options = options_of(finished.config, finished.folder)
    name = registered(finished).name
    assert json.loads(ponder(*options, "--json").stdout)["register"]["name"] == name
    assert (
        "after-20260309T000000: what was liked next, ndcg@10 by space: behaviour 0."
        in ponder(*options).stdout
    )
    assert json.loads(ponder("models", "show", name, "--json").stdout)["name"] == "tuned"


@pytest.mark.slow  # three processes load everything; threads that exchange are tested always
def test_two_processes_train_what_one_does(finished, settings, tmp_path):
    """Started as documented; all that is left to do is the joint training."""
    folder = tmp_path / "run"
    shutil.copytree(finished.folder, folder)
    shutil.rmtree(folder / "joint")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    ponder = ["--module", "ponder", "--home", str(settings.home)]
    started = subprocess.run(
        [*torchrun, *ponder, *options_of(finished.config, folder), "--json"],
        cwd=Path(__file__).resolve().parents[3],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert started.returncode == 0, started.stderr
    (result,) = map(json.loads, started.stdout.splitlines())  # one of the two talks
    alone = finished.result("joint", FinishedTraining)
    assert result["joint"] == json_form(replace(alone, processes=2))
    alone, together, base = (
        torch.cat([weight.flatten() for _, weight in sorted(load_file(path).items())])
        for path in (
            finished.version("joint") / "model.safetensors",
            folder / "joint" / "version" / "model.safetensors",
            SHIPPED["nano"] / "model.safetensors",
        )
    )
    # Sums in another order show in the last bits, and that each had a share shows there too.
    # A distance, because AdamW moves a weight as far where its gradient is nothing but rounding.
    apart = (together - alone).norm() / (alone - base).norm()
    assert 0 < apart < 1e-3


def test_a_version_that_failed_is_promoted_by_force_alone(finished, refused, settings):
    def ponder(*arguments):
        return CliRunner().invoke(app, ["--home", str(settings.home), "models", *arguments])

    name = registered(finished).name
    listed = json.loads(ponder("list", "--json").stdout)["versions"]
    assert {row["name"]: row["passed"] for row in listed} == {name: True, refused: False}
    assert ponder("promote", name).exit_code == 0
    assert ponder("promote", refused).exit_code == 1
    assert settings.registry.champion() == name
    assert ponder("promote", refused, "--force").exit_code == 0
    assert settings.registry.champion() == refused


def test_a_stage_tells_how_it_went_as_a_step_does(tmp_path, monkeypatch):
    def fail(run, progress):
        raise OSError("no space")

    monkeypatch.setitem(STAGES, "pairs", replace(STAGES["pairs"], function=fail))
    settings = Settings(home=tmp_path / "home", metrics_folder=str(tmp_path))
    with pytest.raises(OSError, match="no space"):
        run_stage(Run(settings, None, tmp_path / "run"), "pairs")
    told = (tmp_path / "ponder_finetune_pairs.prom").read_text()
    assert 'ponder_step_runs_total{outcome="failed",step="finetune_pairs"} 1.0' in told

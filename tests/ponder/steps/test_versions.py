"""Tests for ponder/steps/versions.py and validation.py: what may go live, and what may go."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from catalog.lake.index_versions import IndexVersions
from catalog.lake.tables import INDEX_VERSIONS
from ponder.cli.app import app
from ponder.steps.index import follow_lake, index
from ponder.steps.status import status
from ponder.steps.validation import ValidationFailed, validate
from ponder.steps.versions import drop, promote, retire, rollback, versions
from ponder.wiring.encoder import configured_version, open_encoder
from ponder.wiring.stores import open_index, open_lake
from recall.validation_config import ValidationConfig
from serving.live_validation import LiveValidation
from tests.ponder.steps.mugs import MUGS, embed_all, gone, held, land, mugs


def known(settings):
    return IndexVersions(open_lake(settings))


def validations(settings):
    """How often the configured version was validated, as far as its row tells."""
    return known(settings).of(configured_version(settings)).validated_at


@pytest.fixture
def filled(other):
    """The other version, indexed beside the live one."""
    embed_all(other)
    index(other)
    return other


def test_what_was_never_validated_is_validated_before_it_goes_live(filled):
    assert validations(filled) is None
    before = known(filled).live()
    assert promote(filled).before == before
    assert validations(filled) is not None
    assert known(filled).previous() == before


def test_what_is_as_it_was_validated_is_not_validated_again(filled):
    validate(filled)
    at = validations(filled)
    promote(filled)
    promote(filled)
    assert validations(filled) == at


def test_what_has_changed_since_its_validation_is_validated_again(filled):
    validate(filled)
    at = validations(filled)
    land(filled, *mugs(["s9"]), second=1)
    embed_all(filled)
    index(filled)
    promote(filled)
    assert validations(filled) > at


def test_a_collection_that_covers_a_part_of_the_catalogue_stays_out_unless_forced(live, filled):
    validate(filled)
    land(live, *mugs(["s7", "s8", "s9"]), second=1)  # 4 of 7 are embedded
    before = known(filled).live()
    with pytest.raises(ValidationFailed, match=r"coverage must be >= 0.95, got 0.5714"):
        promote(filled)
    assert known(filled).live() == before
    assert known(filled).of(configured_version(filled)).state == "refused"
    assert promote(filled, force=True).live == configured_version(filled)


def test_a_collection_that_somebody_else_emptied_stays_out(filled):
    validate(filled)
    with open_index(filled) as milvus:
        milvus.discard(["s0"])
    with pytest.raises(ValidationFailed, match="1 of 4 items are missing"):
        promote(filled)


def test_a_validation_asks_profiles_and_texts_and_embeds_canaries_anew(live):
    at = "2026-03-01T10:00:00Z"
    folder = live.home / "landed"
    likes = [
        {"event_id": str(n), "user_id": "ann", "item_id": i, "action": "like", "ts": at}
        for n, i in enumerate(("s0", "s3"))
    ]
    (folder / "events.jsonl").write_text("".join(json.dumps(like) + "\n" for like in likes))
    land(live, *mugs(["s0"]), second=1)
    queries = live.home / "queries.jsonl"
    asked = [
        {"query_id": "1", "text": "s2 red mug", "relevant": ["s2"]},
        {"query_id": "2", "item": "s1", "relevant": ["s0", "s2", "s3"]},
        {"query_id": "3", "text": "gone", "relevant": ["never there"]},
    ]
    queries.write_text("".join(json.dumps(query) + "\n" for query in asked))
    found = validate(live.replace(judged_queries=str(queries)))
    assert found.recall == {"items@4": 1.0, "profiles@4": 1.0, "texts@4": 1.0}
    assert found.canary_cosine == pytest.approx(1, abs=1e-4)
    assert (found.coverage, found.wait_hours, found.judged_recall) == (1.0, 0.0, 1.0)
    again = validate(live)
    assert again.centroid_cosine == pytest.approx(1)
    assert again.reasoning_change == 0


def test_without_items_to_encode_neither_texts_nor_canaries_are_asked(live):
    weightless = live.replace(validation=ValidationConfig(encoded=0))
    found = validate(weightless)
    assert set(found.recall) == {"items@4"}
    assert found.canary_cosine is None


def test_a_file_of_judged_queries_that_is_not_there_is_named(live):
    with pytest.raises(ValueError, match="no such file"):
        validate(live.replace(judged_queries="nowhere.jsonl"))


def test_a_switch_that_was_killed_is_completed_by_whoever_comes_next(live, filled):
    known(filled).switch_to(configured_version(filled))  # and then the process died
    with open_index(filled) as milvus:
        assert milvus.live_version() == configured_version(live)
        follow_lake(open_lake(filled), milvus)
        assert milvus.live_version() == configured_version(filled)


def test_a_lake_that_knows_of_no_live_version_is_told_by_the_alias(live):
    lake = open_lake(live)
    lake.delete(INDEX_VERSIONS, lake.read(INDEX_VERSIONS).select("version"))
    with open_index(live) as milvus:
        follow_lake(lake, milvus)
    assert known(live).live() == configured_version(live)


def test_a_lost_index_is_filled_again_with_the_live_and_the_previous_version(live, filled):
    promote(filled)
    lost = filled.replace(milvus=str(filled.home / "new.db"))
    index(lost)
    for settings in (live, filled):
        assert held(lost, configured_version(settings)) == MUGS
    assert rollback(lost).live == configured_version(live)


def test_a_version_that_was_dropped_is_no_goal_of_a_rollback(live, filled):
    promote(filled)
    with pytest.raises(ValueError, match="is live"):
        drop(filled, configured_version(filled))
    drop(filled, configured_version(live))
    with pytest.raises(RuntimeError, match="a rollback needs a version"):
        rollback(filled)
    index(filled)
    assert [each.state for each in versions(filled)] == ["retired", "validated"]


def aged(settings, version, *, days):
    """As if nothing had happened to a version for so long."""

    def change(rows):
        at = datetime.now(UTC) - timedelta(days=days)
        return rows.filter(version=version).with_columns(changed_at=at)

    open_lake(settings).rewrite(INDEX_VERSIONS, change)


def test_old_collections_are_retired_and_never_the_live_or_the_previous_one(live, filled):
    promote(filled)
    third, fourth = "old-1", "old-2"
    with open_index(filled) as milvus:
        for version in (third, fourth):
            rows = milvus.vectors(["s0"], configured_version(live))
            milvus._ensure(version, dim=len(rows["s0"]), num_items=1)
            known(filled).record(version, state="filled")
    for version, days in ((third, 12), (fourth, 13)):
        aged(filled, version, days=days)
    assert retire(filled, keep=2, days=0).retired == ()
    assert retire(filled, keep=0, days=14).retired == ()
    planned = retire(filled, keep=0, days=12.5, dry_run=True)
    assert (planned.retired, len(planned.left)) == ((fourth,), 3)
    assert retire(filled, keep=1, days=0).retired == (fourth,)
    done = retire(filled, keep=0, days=0)
    assert done.retired == (third,)
    assert set(done.left) == {configured_version(live), configured_version(filled)}


class Drifted:
    """An encoder whose vectors are no longer what they were: their numbers in another order."""

    def __init__(self, encoder):
        self._encoder = encoder

    def __getattr__(self, name):
        return getattr(self._encoder, name)

    def stream_items(self, contents):
        for number, answer in self._encoder.stream_items(contents):
            yield number, replace(answer, vector=answer.vector[::-1].copy())


def test_canaries_of_a_night_that_changed_nothing_raise_an_alarm_and_the_version_stays(
    live, monkeypatch
):
    version, lake = configured_version(live), open_lake(live)
    assert index(live).upserted == 0  # and so nothing is embedded
    assert validate(live).canary_cosine > 0.999
    assert (status(live).alarms, status(live).validated_at) == ([], validations(live))
    metrics = LiveValidation(lake)
    assert told(metrics) == {}
    assert metrics.refresh()
    assert told(metrics)["live_validation_passed"] == 1

    monkeypatch.setattr(
        "ponder.steps.validation.open_encoder", lambda settings: Drifted(open_encoder(settings))
    )
    with pytest.raises(ValidationFailed, match=r"canary_cosine must be >= 0\.98, got"):
        validate(live)
    [alarm] = status(live).alarms
    assert alarm.startswith("canary_cosine must be >= 0.98, got")
    assert known(live).live() == version
    assert versions(live)[0].problems == [alarm]
    shown = CliRunner().invoke(app, ["--home", str(live.home), "versions"])
    assert f"ALARM {alarm}" in shown.output
    assert told(metrics)["live_validation_passed"] == 1  # until it looks again
    assert metrics.refresh()
    assert not metrics.refresh()
    assert told(metrics)["live_validation_passed"] == 0
    assert told(metrics)["live_validation", "canary_cosine"] < 0.98
    assert 0 <= told(metrics)["live_validation_age_seconds"] < 60


def told(collector):
    """Return numbers by the name of the metric, and of the measure where there is one."""
    return {
        (sample.name, sample.labels["measure"]) if "measure" in sample.labels else sample.name: (
            sample.value
        )
        for metric in collector.collect()
        for sample in metric.samples
    }


def test_versions_are_listed_with_what_their_validation_measured(filled):
    promote(filled)
    runner = CliRunner()
    told = runner.invoke(app, ["--home", str(filled.home), "versions"])
    assert told.exit_code == 0
    first, *_ = told.output.splitlines()
    assert configured_version(filled) in first
    assert " live " in first
    assert "4 items" in first
    assert "items@4 1.0000" in told.output
    as_json = runner.invoke(app, ["--home", str(filled.home), "versions", "--json"])
    listed = json.loads(as_json.output)["versions"]
    assert [each["role"] for each in listed] == ["live", "previous"]
    assert listed[0]["metrics"]["coverage"] == 1.0
    retired = runner.invoke(app, ["--home", str(filled.home), "versions", "retire", "--json"])
    assert json.loads(retired.output)["retired"] == []


def test_a_deletion_while_a_version_is_away_is_not_brought_back(live, filled):
    promote(filled)
    land(filled, *gone("s2"), second=1)
    rollback(filled)
    for settings in (live, filled):
        assert held(filled, configured_version(settings)) == ["s0", "s1", "s3"]

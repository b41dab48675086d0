"""What a step tells: the same from the command line and from a DAG."""

import json
import logging
from dataclasses import dataclass

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ponder.settings import Settings
from ponder.telemetry.identity import current_ids, identified, identify
from ponder.telemetry.json_lines import JsonLines
from ponder.telemetry.observation import observed
from tests.ponder.telemetry.test_outlets import told


@dataclass(frozen=True)
class Made:
    """What a step made."""

    items: int
    version: str
    names: tuple[str, ...] = ()

    @property
    def items_per_s(self):
        return self.items / 2


class Nothing(ValueError):
    """There was nothing to do."""


@observed("make", count=lambda metrics, made: metrics.planning.tell(items=made.items, failed=0))
def make(settings, number, *, error=None):
    identify(version="v1", shard="a..c")
    logging.getLogger("ponder.test").info("at work")
    if error is not None:
        raise error
    return Made(items=number, version="v1", names=("x",))


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path / "home", metrics_folder=str(tmp_path / "metrics"))


def test_a_step_is_counted_by_how_it_ended(settings, tmp_path):
    make(settings, 3)
    make(settings, 4)
    with pytest.raises(OSError, match="disk"):
        make(settings, 5, error=OSError("disk"))
    numbers = told(tmp_path / "metrics" / "ponder_make.prom")
    assert numbers[("ponder_step_runs_total", "done", "make")] == 2
    assert numbers[("ponder_step_runs_total", "failed", "make")] == 1
    assert numbers[("ponder_plan_items",)] == 4
    ended = ("ponder_step_ended_timestamp_seconds",)
    assert numbers[(*ended, "failed", "make")] >= numbers[(*ended, "done", "make")]


def test_a_step_that_had_nothing_to_do_has_not_failed(settings, tmp_path):
    @observed("learn", skips=(Nothing,))
    def learn(settings):
        raise Nothing("no requests")

    with pytest.raises(Nothing):
        learn(settings)
    numbers = told(tmp_path / "metrics" / "ponder_learn.prom")
    assert numbers[("ponder_step_runs_total", "learn", "skipped")] == 1
    assert not [key for key in numbers if "failed" in key]


def test_how_the_deployment_stands_is_told_with_every_step(settings, tmp_path):
    make(settings, 1)
    numbers = told(tmp_path / "metrics" / "ponder_deployment.prom")
    assert numbers[("ponder_live",)] == 0
    assert 0 < numbers[("ponder_disk_free_bytes",)] <= numbers[("ponder_disk_bytes",)]


def test_no_number_stands_in_two_files_of_a_folder(settings, tmp_path):
    """Node exporter refuses all of them then."""
    make(settings, 1)
    observed("other")(lambda settings: None)(settings)
    found = [key for path in (tmp_path / "metrics").glob("*.prom") for key in told(path)]
    assert len(found) == len(set(found)) > 0


def test_without_a_folder_or_gateway_nothing_is_written(tmp_path):
    make(Settings(home=tmp_path / "home"), 1)
    assert not (tmp_path / "home").exists()


def test_json_lines_carry_run_step_shard_and_version_and_the_counts(settings, capsys, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CTX_DAG_ID", "nightly")
    monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", "scheduled__1")
    monkeypatch.setenv("AIRFLOW_CTX_TASK_ID", "embed")
    handler, log = logging.StreamHandler(), logging.getLogger("ponder")
    handler.setFormatter(JsonLines())
    monkeypatch.setattr(log, "handlers", [handler])
    monkeypatch.setattr(log, "level", logging.INFO)
    log.manager._clear_cache()
    make(settings, 3)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["message"].split(":")[0] for line in lines] == [
        *("make began", "at work", "make done"),
    ]
    for line in lines:
        assert (line["dag"], line["run"], line["task"]) == ("nightly", "scheduled__1", "embed")
        assert line["step"] == "make"
    for line in lines[1:]:
        assert (line["version"], line["shard"]) == ("v1", "a..c")
    assert lines[-1]["counts"]["items"] == 3
    assert lines[-1]["counts"]["items_per_s"] == 1.5
    assert lines[-1]["counts"]["elapsed_s"] >= 0
    assert lines[-1]["counts"]["outcome"] == "done"
    assert "names" not in lines[-1]["counts"]


def test_an_error_is_one_line_with_its_traceback():
    try:
        raise OSError("no\nspace")
    except OSError as error:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "broke", (), (OSError, error, None))
    line = JsonLines().format(record)
    assert "\n" not in line
    assert "OSError: no\nspace" in json.loads(line)["error"]


def test_what_a_step_noted_is_forgotten_with_it():
    with identified(step="outer"):
        identify(version="v1")
        with identified(step="inner"):
            identify(shard="a..b")
            assert current_ids() | {"run": ""} == {
                "run": "", "step": "inner", "version": "v1", "shard": "a..b",
            }  # fmt: skip
        assert current_ids()["step"] == "outer"
        assert "shard" not in current_ids()
    assert set(current_ids()) == {"run"}


def test_every_file_can_be_read_as_prometheus_reads_it(settings, tmp_path):
    make(settings, 1)
    for path in (tmp_path / "metrics").glob("*.prom"):
        assert list(text_string_to_metric_families(path.read_text()))

"""Tests for ponder/settings_sources.py: which place is asked first, and what is refused."""

import os
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path

import pytest

from ponder.settings import SETTINGS, Settings
from ponder.settings_sources import SettingsError, load_settings, read_sources


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory without a file, and an environment that names none."""
    monkeypatch.delenv("PONDER_CONFIG")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def file(folder):
    def write(text, name="ponder.toml"):
        (folder / name).write_text(text)
        return folder / name

    return write


@pytest.fixture
def variables(monkeypatch):
    def give(**values):
        for name, value in values.items():
            monkeypatch.setenv(f"PONDER_{name}", value)

    return give


def problems(**options):
    with pytest.raises(SettingsError) as caught:
        load_settings(**options)
    assert str(caught.value).splitlines() == list(caught.value.problems)
    return list(caught.value.problems)


def test_without_any_variable_and_file_all_is_default(folder):
    assert load_settings() == Settings()
    assert {read_sources().origin(name) for name in SETTINGS} == {"default"}


def test_variables_reach_their_settings(folder, variables):
    variables(
        HOME="/data",
        LAKE="s3://bucket/lake",
        LAKE_OPTIONS='{"AWS_REGION": "eu-west-1"}',
        MILVUS="http://milvus:19530",
        KAFKA="kafka:9092",
        KAFKA_SECURITY='{"security_protocol": "SSL", "ssl_check_hostname": false}',
        MEDIA_ALLOW="10.0.0.0/8, fd00::/8",
        MEDIA_BUCKETS="images, press",
        SHARD_SIZE="64",
        POLICY="never",
        PROMOTION='{"max_loss": 0.1}',
    )
    settings = load_settings()
    assert settings.home == Path("/data")
    assert settings.lake_uri == "s3://bucket/lake"
    assert settings.lake_options["AWS_REGION"].get_secret_value() == "eu-west-1"
    assert settings.milvus_uri == "http://milvus:19530"
    assert settings.kafka_security["ssl_check_hostname"].get_secret_value() is False
    assert settings.media_allow == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    assert settings.media_buckets == ("images", "press")
    assert settings.shard_size == 64
    assert settings.policy == "never"
    assert settings.promotion.max_loss == 0.1


def test_an_empty_variable_is_an_unset_one(folder, variables):
    variables(MILVUS="", SHARD_SIZE="", MODLE="")
    assert load_settings() == Settings()


def test_options_go_before_variables_and_these_before_the_file(file, variables):
    path = file('home = "/file"\nmodel = "file"\ndevice = "file"\nmedia_allow = ["fd00::/8"]')
    variables(HOME="/variable", MODEL="variable")
    settings = load_settings(home=Path("/option"))
    assert (settings.home, settings.model, settings.device) == (Path("/option"), "variable", "file")
    assert settings.media_allow == (ip_network("fd00::/8"),)
    sources = read_sources(home=Path("/option"))
    names = ("home", "model", "device", "data")
    assert [*map(sources.origin, names)] == ["--home", "PONDER_MODEL", path.name, "default"]


def test_the_file_is_that_of_the_option_then_of_the_variable_then_the_one_that_is_here(
    file, variables
):
    file('data = "here"')
    assert load_settings().data == "here"
    variables(CONFIG=str(file('data = "named"', "named.toml")))
    assert load_settings().data == "named"
    assert load_settings(file('data = "asked for"', "asked.toml")).data == "asked for"


def test_a_file_that_is_named_must_be_there_and_be_toml(folder, file):
    [problem] = problems(config=folder / "nowhere.toml")
    assert "nowhere.toml must be a TOML file" in problem
    [problem] = problems(config=file("model = [", "cut.toml"))
    assert "cut.toml must be a TOML file" in problem


def test_keys_of_a_table_come_from_everywhere_and_the_first_place_wins(file, variables):
    path = file("[promotion]\nmax_loss = 0.5\nmin_gain = 0.5\n[lake_options]\naws_region = 'a'")
    variables(PROMOTION__MAX_LOSS="0.25", LAKE_OPTIONS__AWS_SECRET_ACCESS_KEY="hush")
    settings = load_settings()
    assert (settings.promotion.max_loss, settings.promotion.min_gain) == (0.25, 0.5)
    options = {name: kept.get_secret_value() for name, kept in settings.lake_options.items()}
    assert options == {"aws_region": "a", "aws_secret_access_key": "hush"}
    assert read_sources().origin("promotion") == f"{path.name}, PONDER_PROMOTION__MAX_LOSS"


def test_an_unknown_name_is_refused_with_the_nearest_one(file, variables):
    file('modle = "nano"\n[promotion]\nmax_los = 1')
    variables(REASONER_KEYS="hush", HOME__X="a")
    assert problems() == [
        "ponder.toml: modle is no setting; the nearest is model",
        "PONDER_HOME__X is no setting; the nearest is PONDER_HOME",
        "PONDER_REASONER_KEYS is no setting; the nearest is PONDER_REASONER_KEY",
        "ponder.toml: max_los is no part of promotion; the nearest is max_loss",
    ]


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("SHARD_SIZE", "many", "shard_size should be a valid integer"),
        ("SHARD_SIZE", "0", "shard_size should be greater than or equal to 1, got '0'"),
        ("POLICY", "maybe", "policy should be 'auto', 'always' or 'never', got 'maybe'"),
        ("LAKE_OPTIONS", "{hush", "lake_options must be a table, or in a variable a JSON object"),
        ("LAKE_OPTIONS", "[7]", "lake_options must be a table, or in a variable a JSON object"),
        ("LAKE_OPTIONS", '{"key": 7}', "lake_options.key should be a valid string"),
        ("MEDIA_ALLOW", "localhost", "media_allow cannot be read: 'localhost' does not appear"),
        ("PROMOTION", '{"metric": "x"}', "promotion cannot be read: metric must be hit@1"),
        ("PROMOTION__MAX_LOSS", "x", "promotion.max_loss should be a valid number"),
    ],
)
def test_a_value_that_cannot_be_names_its_place_and_key(folder, variables, variable, value, said):
    variables(**{variable: value})
    [problem] = problems()
    assert problem.startswith(f"PONDER_{variable}: {said}")


def test_no_secret_is_in_a_problem(file, variables):
    file("milvus_token = 7777\nmilvus = 'http://u:7777@a'\nshard_size = 0\nreasoner_key = [7777]")
    variables(LAKE_OPTIONS="7777", KAFKA_SECURITY='["7777"]', REASONER_TIMEOUT_S="http://7777@a")
    found = problems()
    assert len(found) == 6
    assert "7777" not in "".join(found)
    assert "7777" not in repr(read_sources())


def test_reading_settings_loads_no_torch(folder):
    code = (
        "import sys, ponder.settings_sources as s; s.load_settings(); "
        "print(sorted({'torch', 'polars', 'pymilvus', 'deltalake'} & set(sys.modules)))"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"

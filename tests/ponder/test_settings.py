"""Tests for ponder/settings.py."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from ponder.settings import Settings


def test_without_any_variable_everything_is_embedded():
    settings = Settings.from_env({})
    assert settings == Settings()
    assert settings.lake_uri == ".ponder/lake"
    assert settings.milvus_uri == ".ponder/milvus.db"


def test_variables_reach_their_fields():
    settings = Settings.from_env(
        {
            "PONDER_HOME": "/data",
            "PONDER_LAKE": "s3://bucket/lake",
            "PONDER_LAKE_OPTIONS": '{"AWS_REGION": "eu-west-1"}',
            "PONDER_MILVUS": "http://milvus:19530",
            "PONDER_KAFKA": "kafka:9092",
            "PONDER_KAFKA_SECURITY": '{"security_protocol": "SSL"}',
            "PONDER_MEDIA_ALLOW": "10.0.0.0/8, fd00::/8",
            "PONDER_MEDIA_BUCKETS": "images, press",
            "PONDER_SHARD_SIZE": "64",
            "PONDER_POLICY": "never",
        }
    )
    assert settings.home == Path("/data")
    assert settings.lake_uri == "s3://bucket/lake"
    assert settings.lake_options == {"AWS_REGION": "eu-west-1"}
    assert settings.milvus_uri == "http://milvus:19530"
    assert settings.kafka_security == {"security_protocol": "SSL"}
    assert settings.media_allow == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    assert settings.media_buckets == ("images", "press")
    assert settings.shard_size == 64
    assert settings.policy == "never"


def test_an_empty_variable_is_an_unset_one():
    assert Settings.from_env({"PONDER_MILVUS": "", "PONDER_SHARD_SIZE": ""}) == Settings()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PONDER_SHARD_SIZE", "many"),
        ("PONDER_LAKE_OPTIONS", "{"),
        ("PONDER_MEDIA_ALLOW", "localhost"),
    ],
)
def test_a_value_that_cannot_be_read_names_its_variable(variable, value):
    with pytest.raises(ValueError, match=f"{variable} cannot be read"):
        Settings.from_env({variable: value})


def test_values_out_of_range_are_refused():
    with pytest.raises(ValueError, match="shard_size must be at least 1, got 0"):
        Settings(shard_size=0)
    with pytest.raises(ValueError, match="policy must be auto, always or never, got 'sometimes'"):
        Settings(policy="sometimes")

"""Tests for ponder/settings.py: what may be set, and that no secret is ever told."""

import pickle
import traceback
from ipaddress import ip_network
from pathlib import Path

import pytest

from ponder.finetuning.promotion import PromotionConfig
from ponder.setting_values import MASK, without_password
from ponder.settings import SECRETS, SETTINGS, Settings

SECRET = "hunter2"


@pytest.fixture
def telling():
    """Settings with a secret in everything that may hold one."""
    return Settings(
        milvus=f"https://root:{SECRET}@milvus:19530",
        milvus_token=f"root:{SECRET}",
        kafka_security={"sasl_mechanism": SECRET, "ssl_check_hostname": False},
        lake_options={"AWS_SECRET_ACCESS_KEY": SECRET},
        reasoner="openai:m",
        reasoner_url=f"https://me:{SECRET}@vllm/v1",
        reasoner_key=SECRET,
    )


def test_without_any_setting_everything_is_embedded(monkeypatch):
    monkeypatch.setenv("PONDER_HOME", "/elsewhere")  # code gives settings, not who runs it
    settings = Settings()
    assert settings.lake_uri == ".ponder/lake"
    assert settings.milvus_uri == ".ponder/milvus.db"


def test_no_secret_is_in_the_text_of_settings_nor_in_what_is_shown(telling):
    for text in (repr(telling), str(telling), f"{telling.shown()}", repr(vars(telling))):
        # `vars` has what the fields hold, addresses as they are.
        told = text.replace(telling.milvus, "").replace(telling.reasoner_url, "")
        assert SECRET not in told
    assert SECRET not in repr(telling) + f"{telling.shown()}"
    shown = telling.shown()
    assert shown["milvus"] == f"https://{MASK}@milvus:19530"
    assert shown["kafka_security"] == {"sasl_mechanism": MASK, "ssl_check_hostname": MASK}
    assert [shown[name] for name in ("milvus_token", "reasoner_key")] == [MASK, MASK]


def test_the_secrets_are_those_whose_type_says_so():
    kinds = {name: str(Settings.model_fields[name].annotation) for name in SETTINGS}
    assert {name for name, kind in kinds.items() if "Secret" in kind} == set(SECRETS)


@pytest.mark.parametrize(
    "wrong",
    [
        {"milvus_token": [SECRET]},
        {"reasoner_key": {SECRET: SECRET}},
        {"lake_options": SECRET},
        {"lake_options": {"AWS_SECRET_ACCESS_KEY": [SECRET]}},
        {"kafka_security": [SECRET]},
        {"lake_options": {"a": SECRET}, "shard_size": 0},
        {"lake_options": {"a": SECRET}, "reasoner": "nobody"},
        {"kafka": f"me:{SECRET}@host:9092"},
        {"kafka": f"host:9092,SASL_SSL://me:{SECRET}@host:9092"},
        {"lake": f"s3://me:{SECRET}@bucket/lake"},
        {"artifacts": f"s3://me:{SECRET}@bucket/artifacts"},
        {"lake_options": {"AWS_ENDPOINT_URL": f"http://me:{SECRET}@store:9000"}},
        {"alert_webhook": f"ftp://me:{SECRET}@host/"},
    ],
)
def test_no_secret_is_in_an_error(wrong):
    with pytest.raises(ValueError, match="Settings") as caught:
        Settings(**wrong)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_an_address_is_shown_without_what_stands_before_its_host():
    assert without_password("kafka:9092") == "kafka:9092"
    assert without_password("http://a/b@c") == "http://a/b@c"
    assert without_password("s3://key:secret@bucket/lake") == f"s3://{MASK}@bucket/lake"


def test_an_at_sign_in_a_path_is_no_password():
    assert Settings(lake="/data/me@home/lake").lake_uri == "/data/me@home/lake"
    proxy = {"proxy_url": "http://me:pw@proxy"}
    assert Settings(lake_options=proxy).lake_options["proxy_url"].get_secret_value()


def test_networks_and_names_are_lists_or_text_with_commas():
    networks = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    for given in ("10.0.0.0/8, fd00::/8", ["10.0.0.0/8", "fd00::/8"], networks):
        assert Settings(media_allow=given).media_allow == networks
    for given in ("images, press", ["images", "press"], ("images", "press")):
        assert Settings(media_buckets=given).media_buckets == ("images", "press")


def test_what_is_replaced_is_checked_and_the_rest_stays(telling):
    changed = telling.replace(home=Path("/data"), model="mine")
    assert (changed.home, changed.model) == (Path("/data"), "mine")
    assert changed.replace(home=telling.home, model="nano") == telling
    with pytest.raises(ValueError, match="reads no rationales"):
        telling.replace(model="st:some")
    with pytest.raises(ValueError, match="frozen"):
        telling.home = Path()


def test_another_process_gets_the_same_settings(telling):
    assert pickle.loads(pickle.dumps(telling)) == telling
    assert pickle.loads(pickle.dumps(telling)).reasoner_key.get_secret_value() == SECRET


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"shard_size": 0}, "shard_size\n.*greater than or equal to 1"),
        ({"policy": "sometimes"}, "policy\n.*'auto', 'always' or 'never'"),
        ({"reasoner_timeout_s": 0}, "reasoner_timeout_s\n.*greater than 0"),
        ({"colour": "red"}, "colour\n.*not permitted"),
        ({"promotion": {"max_los": 1}}, "max_los\n.*Unexpected"),
    ],
)
def test_what_may_not_be_is_refused(wrong, reason):
    with pytest.raises(ValueError, match=reason):
        Settings(**wrong)


def test_thresholds_are_a_table_or_what_it_makes():
    thresholds = PromotionConfig(max_loss=0.1)
    assert Settings(promotion={"max_loss": 0.1}).promotion == thresholds
    assert Settings(promotion=thresholds).promotion == thresholds

"""Tests for `ponder serve` and `ponder key`: who may listen where, and what lets a key in."""

import tomllib

import pytest

from ponder.settings_sources import load_settings
from ponder.steps.serve import serve
from serving.api_keys import digest


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "10.0.0.1", "example.org"])
def test_without_keys_nothing_listens_beyond_this_machine(ponder, host):
    result = ponder("serve", "--host", host, "--port", "0")
    assert result.exit_code == 1
    assert " ".join(result.stderr.split()) == (
        f"ponder: a service that listens on {host} must have API keys: make one with ponder key, "
        "or say --insecure-no-keys where something in front of it checks who asks"
    )


@pytest.mark.parametrize(
    ("host", "options", "has_keys"),
    [
        ("127.0.0.1", {}, False),
        ("127.0.0.2", {}, False),
        ("::1", {}, False),
        ("localhost", {}, False),
        ("0.0.0.0", {"is_open": True}, False),
        ("0.0.0.0", {}, True),
    ],
)
def test_this_machine_and_whoever_has_keys_or_says_so_may_listen(settings, host, options, has_keys):
    keys = {"shop": {"sha256": digest("x"), "scopes": ["recall"]}} if has_keys else {}
    # It goes on to load the model, which is the next thing that can go wrong.
    elsewhere = settings.replace(model="/no/such/model", api_keys=keys)
    with pytest.raises(FileNotFoundError, match="/no/such/model"):
        serve(elsewhere, host=host, port=0, **options)


def test_a_key_is_shown_once_and_its_lines_let_it_in(ponder, tmp_path):
    result = ponder("key", "the shop's", "--scope", "recall", "--scope", "write")
    assert result.exit_code == 0
    told, _, *lines = result.stdout.splitlines()
    made = told.split()[-1]
    assert made not in "\n".join(lines)
    setting = tomllib.loads("\n".join(lines))["api_keys"]["the shop's"]
    assert setting == {"sha256": digest(made), "scopes": ["recall", "write"]}

    config = tmp_path / "ponder.toml"
    config.write_text("\n".join(lines))
    [(name, kept)] = load_settings(config=config).api_keys.items()
    assert (name, kept.sha256, kept.scopes) == ("the shop's", digest(made), ("recall", "write"))


def test_two_keys_differ_and_recall_is_what_they_allow_unless_said(ponder):
    made = [ponder("key", "shop").stdout for _ in range(2)]
    assert made[0] != made[1]
    assert 'scopes = ["recall"]' in made[0].splitlines()


def test_a_scope_that_there_is_not_is_told(ponder):
    result = ponder("key", "shop", "--scope", "everything")
    assert result.exit_code == 1
    assert "--scope must be one of recall, recommend, write, admin, got 'everything'" in " ".join(
        result.stderr.split()
    )
    assert "ponder_" not in result.stdout

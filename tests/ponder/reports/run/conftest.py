"""A deployment whose report loads no model."""

import pytest

from ponder.settings import Settings


@pytest.fixture
def settings(tmp_path):
    """A deployment whose model is a name and an identity: the report loads no weights."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "manifest.json").write_text('{"name": "tiny", "theta": 0.25}')
    (model / "model.safetensors").write_bytes(b"never read as weights")
    return Settings(home=tmp_path / "home", model=str(model))

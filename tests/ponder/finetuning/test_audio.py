"""Tests for a fine-tune on sounds: the base gets an audio encoder, and learns with it."""

from pathlib import Path

import pytest
import torch

from embedder.content import Content
from embedder.finetune.data.pairs import Pair
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from embedder.version import reads_audio
from ponder.finetuning.data_folder import Example, write_data
from ponder.finetuning.recipes import configured
from ponder.finetuning.results import GatheredPairs
from ponder.finetuning.run import Run
from ponder.finetuning.stages import STAGES, run_stage
from ponder.settings import Settings
from tests.sounds import tone_file

SMALL = {"joint.num_steps": 2, "joint.batch_size": 4, "joint.warmup_steps": 1}
ENCODER = {"audio.num_layers": 1, "audio.num_mel_bins": 16, "audio.merged_patches": 2}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Four pairs of a text and a sound, four of a text and a sound with a text; one sound asks."""
    folder = tmp_path_factory.mktemp("data")
    examples = []
    for number in range(8):
        sound = tone_file("flac", hz=300.0 + 100 * number, seconds=0.2, rate_hz=16_000)
        target = Content("a bell" if number % 2 else "", audio=sound)
        asked = Content(f"tone {number}")
        examples.append(Example(Pair(asked, target, asked.text, str(number), pair_id=f"p{number}")))
    asks = Pair(Content(audio=sound), Content("a tone"), "sound", "tone", pair_id="s")
    write_data(folder, [*examples, Example(asks)])
    return folder


def run_of(data: Path, folder: Path, changes):
    told = {"data": str(data), "pairs.sources": ("given",), **SMALL, **changes}
    run = Run.open(Settings(home=folder), configured(told, recipe="clips"), folder / "run")
    for name in STAGES:
        run_stage(run, name)
        if name == "joint":
            return run
    raise AssertionError


@pytest.fixture(scope="module")
def hearing(data, tmp_path_factory):
    return run_of(data, tmp_path_factory.mktemp("hearing"), ENCODER)


def test_a_sound_may_ask_and_answer(hearing):
    asks = {pair.pair_id: pair for pair in hearing.pairs}
    assert (asks["s"].query.text, asks["s"].target.text) == ("", "a tone")
    assert asks["s"].query.audio is not None
    assert asks["p1"].query.audio is None
    assert asks["p1"].target.audio is not None


def test_the_version_hears_and_its_encoder_was_trained(hearing):
    assert hearing.result("pairs", GatheredPairs).pairs == {"": 9}
    assert reads_audio(hearing.version("joint"))
    before, after = (hearing.load(hearing.version(name)) for name in ("vocabulary", "joint"))
    assert before.backbone.audio.config == after.backbone.audio.config == hearing.config.audio
    was, now = (one.backbone.audio.patches.weight for one in (before, after))
    assert not torch.allclose(was, now)
    assert torch.equal(
        before.backbone.model.model.visual.patch_embed.proj.weight,
        hearing.load("nano").backbone.model.model.visual.patch_embed.proj.weight,
    )
    model = str(hearing.version("joint"))
    embedder = MMEmbR1.open(EmbedderConfig(model=model, policy="never", num_threads=1))
    assert embedder.refusal(Content(audio=tone_file(seconds=0.1))) is None


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"audio.num_layers": 3}])
def test_a_version_that_hears_keeps_its_encoder_and_is_trained_on(hearing, data, tmp_path, changes):
    run = run_of(data, tmp_path, {"base": str(hearing.version("joint")), **changes})
    kept = run.load(run.version("joint")).backbone.audio.config
    assert kept == hearing.config.audio
    assert run.result("pairs", GatheredPairs).pairs == {"": 9}
    assert reads_audio(run.version("joint"))


def test_pairs_of_which_nothing_is_left_are_skipped_where_the_base_hears_nothing(data, tmp_path):
    run = run_of(data, tmp_path, {})
    gathered = run.result("pairs", GatheredPairs)
    assert (gathered.pairs, gathered.skipped) == ({"": 4}, 5)
    assert not reads_audio(run.version("joint"))


def test_heads_are_given_no_audio_encoder():
    with pytest.raises(ValueError, match=r"got .*audio as well"):
        configured({"audio.num_layers": 1}, recipe="pair")

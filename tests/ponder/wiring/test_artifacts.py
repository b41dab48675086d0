"""Tests for ponder/wiring/artifacts.py: a night on one machine, features and ranker on others."""

import shutil

import pytest

from features.export import read_manifest
from ponder.reports.run.page import write_html
from ponder.settings import Settings
from ponder.steps.experiment import experiment
from ponder.steps.features import NothingToLearn, export_days, export_features, plan_export
from ponder.steps.rank import promote_ranker, registered_rankers, train_ranker
from ponder.wiring.artifacts import follow, shared, sharing
from ponder.wiring.encoder import configured_version
from ponder.wiring.service import champions


@pytest.fixture
def machine(tmp_path):
    """Makes machines with homes of their own, one lake and one store."""
    (tmp_path / "store").mkdir()

    def make(name):
        return Settings(
            home=tmp_path / name,
            lake=str(tmp_path / "lake"),
            artifacts=f"file://{tmp_path / 'store'}",
        )

    return make


@pytest.fixture
def landed(night_home, machine):
    """A night has run on the first machine: its lake is everybody's."""
    shutil.copytree(night_home / "lake", machine("first").lake_uri)


@pytest.mark.usefixtures("landed")
def test_a_night_features_and_ranker_on_several_machines_are_one_deployment(machine, tmp_path):
    [part, *_] = plan_export(machine("second"))
    assert export_days(machine("third"), part) > 0
    export_features(machine("second"))
    trained = train_ranker(machine("third"))
    rankers = registered_rankers(machine("fourth"))
    assert [(ranker.name, ranker.is_champion) for ranker in rankers] == [
        (trained.name, trained.promoted)
    ]
    if not trained.promoted:
        promote_ranker(machine("fourth"), trained.name, force=True)
    serving = machine("fifth")
    follow(serving, "rankers", "features")
    champion = champions(serving)(configured_version(serving))
    assert champion.model_version == configured_version(serving)
    assert read_manifest(serving.features_folder) == read_manifest(machine("third").features_folder)
    assert not (serving.home / "features").exists()
    assert experiment(machine("sixth"), num_seeds=1).overall.num_requests > 0
    write_html(machine("seventh"))
    assert (machine("seventh").reports_folder / "ranking.json").exists()
    assert (tmp_path / "store" / "reports" / "report.html").exists()


def test_a_folder_of_artefacts_is_used_as_it_is(tmp_path):
    settings = Settings(home=tmp_path / "home", artifacts=str(tmp_path / "shared"))
    folders = [
        *(settings.features_folder, settings.reports_folder, settings.gates_folder),
        *(settings.registry.folder, settings.rankers("v").folder.parent),
        *(settings.evaluation_folder, settings.finetunes_folder, settings.served_folder),
    ]
    names = [
        "features",
        "reports",
        "gates",
        "models",
        "rankers",
        "evaluation",
        "finetune",
        "served",
    ]
    assert folders == [tmp_path / "shared" / name for name in names]
    with shared(settings, "features"):
        assert list(tmp_path.iterdir()) == []
    assert Settings(home=tmp_path).features_folder == tmp_path / "features"


def test_what_a_step_wrote_before_it_failed_is_brought_back(machine):
    @sharing("finetune")
    def fails(settings):
        folder = settings.finetunes_folder / "run"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        raise NothingToLearn("after that")

    with pytest.raises(NothingToLearn):
        fails(machine("first"))
    follow(machine("second"), "finetune")
    assert (machine("second").finetunes_folder / "run" / "config.json").read_text() == "{}"


def test_what_is_only_read_is_fetched_once_in_a_while(machine):
    def write(text):
        with shared(machine("first"), "gates"):
            machine("first").gates_folder.mkdir(parents=True, exist_ok=True)
            (machine("first").gates_folder / "v.json").write_text(text)

    reader = machine("second")
    write("[1]")
    follow(reader, "gates")
    write("[1, 2]")
    follow(reader, "gates")
    assert (reader.gates_folder / "v.json").read_text() == "[1]"
    follow(reader, "gates", max_age_s=0.0)
    assert (reader.gates_folder / "v.json").read_text() == "[1, 2]"

"""Codes of a deployment: learned once, given to what is new, and stable for what has some."""

import shutil

import numpy as np
import polars as pl
import pytest

from catalog.lake.item_codes import codes_in_use, codes_of
from catalog.lake.living_embeddings import embeddings_of
from catalog.lake.tables import EVENTS
from embedder.codes.config import CodesConfig
from features.export import read_export
from features.groups import groups_named
from features.histories import HistoryConfig, positive_events
from ponder.settings import Settings
from ponder.steps.codes import (
    NoCodes,
    assign_codes,
    codes_of_item,
    describe_codes,
    learn_codes,
)
from ponder.steps.feature_references import make_reference
from ponder.steps.features import export_features
from ponder.steps.index import index
from ponder.steps.rank import train_ranker
from ponder.steps.recall import recall
from ponder.wiring.codes import codebooks_of
from ponder.wiring.encoder import configured_version
from ponder.wiring.stores import open_lake
from tests.ponder.steps.mugs import embed_all, gone, land, mugs

FEW = CodesConfig(num_levels=2, num_codes=6)


@pytest.fixture(scope="module")
def coded_home(night_home, tmp_path_factory):
    home = shutil.copytree(night_home, tmp_path_factory.mktemp("coded") / "home")
    learn_codes(Settings(home=home), FEW)
    return home


@pytest.fixture
def coded(coded_home, tmp_path):
    """A deployment of some sixty items whose version has codes."""
    return Settings(home=shutil.copytree(coded_home, tmp_path / "home"))


def given_out(settings):
    lake, version = open_lake(settings), configured_version(settings)
    return codes_of(lake, codes_in_use(lake, version)).sort("item_id", "content_hash").collect()


def test_every_vector_has_the_codes_that_the_artefact_gives_it(coded):
    lake, version = open_lake(coded), configured_version(coded)
    rows = given_out(coded).join(
        embeddings_of(lake, version).collect(), on=["item_id", "content_hash"], how="full"
    )
    assert rows.null_count().sum_horizontal().item() == 0
    vectors_ND = np.array(rows["vector"].to_list(), dtype=np.float32)
    assert codebooks_of(coded, version).assign(vectors_ND).tolist() == rows["codes"].to_list()
    assert rows.unique(["codes", "digit"], keep="none").height == rows.height


def test_learning_again_with_the_same_options_does_nothing(coded):
    before = open_lake(coded).versions()
    learned = learn_codes(coded, FEW)
    assert not learned.is_new
    assert learned.assigned == 0
    assert open_lake(coded).versions() == before


def test_other_options_make_other_codes_and_the_former_stay_as_they_were(coded):
    former, before = codes_in_use(open_lake(coded), configured_version(coded)), given_out(coded)
    learned = learn_codes(coded, CodesConfig(num_levels=1, num_codes=4))
    assert learned.is_new
    assert learned.codes_id != former
    assert given_out(coded)["codes"].list.len().unique().to_list() == [1]
    kept = codes_of(open_lake(coded), former).sort("item_id", "content_hash").collect()
    assert kept.equals(before)


def test_a_night_gives_codes_to_what_is_new_and_leaves_all_others(coded):
    before, artefact = given_out(coded), codebooks_of(coded, configured_version(coded)).id
    land(coded, *mugs(["new1", "new2"]))
    embed_all(coded)
    index(coded)
    after = given_out(coded)
    is_new = pl.col("item_id").is_in(["new1", "new2"])
    assert after.filter(~is_new).equals(before)
    assert after.filter(is_new).height == 2
    assert codebooks_of(coded, configured_version(coded)).id == artefact
    assert assign_codes(coded).assigned == 0
    assert describe_codes(coded).use.num_items == len(before) + 2
    land(coded, *gone("new2"), second=1)
    assert describe_codes(coded).use.num_items == len(before) + 1
    with pytest.raises(LookupError, match="is deleted"):
        codes_of_item(coded, "new2")


def test_a_version_without_codebooks_is_left_as_it_is(coded):
    other = coded.replace(policy="never")
    embed_all(other)
    assert assign_codes(other).codes_id is None
    with pytest.raises(NoCodes, match="ponder codes learn"):
        describe_codes(other)


def test_an_account_says_what_was_measured_and_counts_living_items(coded):
    account = describe_codes(coded)
    assert account.config == FEW
    assert 0 < account.reconstruction.relative_error < 1
    assert account.without_codes == 0
    living = given_out(coded)
    assert account.use.num_items == len(living)
    assert account.use.prefixes[1] == living["codes"].n_unique()


def test_an_item_is_shown_with_those_that_share_its_codes(coded):
    rows = given_out(coded)
    item_id = rows.filter(pl.len().over(pl.col("codes").list.first()) > 2)["item_id"][0]
    own = rows.filter(item_id=item_id)["codes"][0].to_list()
    shown = codes_of_item(coded, item_id)
    assert shown.codes == "-".join(map(str, own))
    both, first = shown.shared
    assert both.prefix == shown.codes
    assert first.prefix == str(own[0])
    others = rows.filter(pl.col("item_id") != item_id)
    assert first.num_items == len(others.filter(pl.col("codes").list.first() == own[0]))
    assert both.num_items == sum(codes.to_list() == own for codes in others["codes"])
    assert not {each.item_id for each in both.first} & {each.item_id for each in first.first}
    with pytest.raises(LookupError, match="'nobody' has no codes"):
        codes_of_item(coded, "nobody")


def test_codebooks_that_are_lost_or_broken_end_the_step(coded):
    land(coded, *mugs(["new1"]))
    embed_all(coded)
    [path] = coded.home.glob("codes/*/*/codebooks.safetensors")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="must be codebooks"):
        index(coded)
    with pytest.raises(RuntimeError, match=r"codes of version .* cannot be read"):
        recall(coded, {"item_id": "b000001", "code_levels": 1})


def test_fewer_items_than_codes_are_refused(coded):
    with pytest.raises(ValueError, match="--codes"):
        learn_codes(coded)


@pytest.mark.parametrize("is_exact", [True, False], ids=["exact", "milvus"])
def test_an_item_is_recalled_among_those_of_its_codes(coded, monkeypatch, is_exact):
    index(coded)
    monkeypatch.setattr(Settings, "is_embedded", is_exact)
    codes = dict(given_out(coded).select("item_id", "codes").iter_rows())
    item_id = next(i for i in codes if sum(c[0] == codes[i][0] for c in codes.values()) > 2)
    own = codes[item_id]
    asked = {"item_id": item_id, "top_k": 100, "explain": True}
    for levels in (1, 2):
        reply = recall(coded, asked | {"code_levels": levels})
        same = {i for i, other in codes.items() if other[:levels] == own[:levels]}
        assert {each.item_id for each in reply.candidates} == same - {item_id}
        assert all(each.channels == ["codes"] for each in reply.candidates)
        prefix = "-".join(map(str, own[:levels]))
        only = recall(coded, asked | {"filter": {"code_prefixes": [prefix]}})
        assert {each.item_id for each in only.candidates} == same - {item_id}
    with pytest.raises(ValueError, match="code_levels goes with"):
        recall(coded, {"text": "a mug", "code_levels": 1})


def shared(one, other):
    """How many codes both begin with alike."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=True)) if a != b), len(one))


def test_an_export_tells_what_candidates_share_with_what_was_liked_before(coded, tmp_path):
    groups = groups_named("default,codes")
    exported = export_features(coded, groups=groups, folder=tmp_path / "out")
    frame = read_export(tmp_path / "out").frame
    assert exported.num_rows == len(frame)
    codes = dict(given_out(coded).select("item_id", "codes").iter_rows())
    events = open_lake(coded).read(EVENTS).filter(pl.col("action") != "impression")
    liked = positive_events(events, config=HistoryConfig()).sort("ts")
    told = 0
    for row in frame.filter(~pl.col("is_repeat")).iter_rows(named=True):
        before = liked.filter(pl.col("user_id") == row["user_id"], pl.col("ts") < row["ts"])
        past = before["item_id"].unique(maintain_order=True).to_list()
        prefixes = [shared(codes[row["item_id"]], codes[item]) for item in past if item in codes]
        if row["item_id"] not in codes or not prefixes or len(prefixes) > 50:
            continue
        told += 1
        assert row["code_prefix_max"] == max(prefixes)
        assert row["code_prefix_mean"] == pytest.approx(sum(prefixes) / len(prefixes), abs=1e-5)
    assert told > 50


def test_codes_that_were_learned_again_leave_an_export_as_it_is(coded):
    groups, folder = groups_named("match,codes"), coded.features_folder
    export_features(coded, groups=groups)
    before = read_export(folder)
    codes_id = before.centring.codes_id
    assert codes_id == codes_in_use(open_lake(coded), before.model_version)
    learn_codes(coded, CodesConfig(num_levels=1, num_codes=4))
    export_features(coded, groups=groups, again=True)
    after = read_export(folder)
    assert after.centring.codes_id == codes_id
    assert after.frame.equals(before.frame)
    make_reference(coded, groups=groups)
    export_features(coded, groups=groups)
    assert read_export(folder).centring.codes_id != codes_id


@pytest.mark.slow
def test_a_champion_is_compared_by_the_codes_that_it_has_learned(coded):
    groups = groups_named("default,codes")
    settings = coded.replace(feature_set="default,codes")
    export_features(settings)
    first = train_ranker(settings)
    learn_codes(settings, CodesConfig(num_levels=1, num_codes=4))
    make_reference(settings, groups=groups)
    export_features(settings)
    assert train_ranker(settings).before == first.name


def test_without_codebooks_features_of_codes_are_missing_and_it_is_said(
    night_home, tmp_path, caplog
):
    bare = Settings(home=shutil.copytree(night_home, tmp_path / "home"))
    export_features(bare, groups=groups_named("context,match"), folder=tmp_path / "first")
    export_features(bare, groups=groups_named("codes"), folder=tmp_path / "out")
    assert "has nothing for features of codes" in caplog.text
    frame = read_export(tmp_path / "out").frame
    assert frame["code_prefix_max"].null_count() == len(frame) > 0

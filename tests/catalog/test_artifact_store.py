"""Tests for catalog/artifact_store.py: two machines with folders of their own and one store."""

import threading

import pytest

from catalog import artifact_store
from catalog.artifact_store import ArtifactStore


@pytest.fixture
def machines(tmp_path):
    """Two copies of one store, and the folder that stands in for it."""
    place = tmp_path / "store"
    place.mkdir()
    folders = tmp_path / "one", tmp_path / "two"
    return [(ArtifactStore(f"file://{place}", {}, folder), folder) for folder in folders], place


def write(folder, **files):
    for name, text in files.items():
        path = folder / "kept" / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def held(folder):
    return {
        path.relative_to(folder / "kept").as_posix(): path.read_text()
        for path in (folder / "kept").rglob("*")
        if path.is_file() and path.name != artifact_store.RECORD
    }


def test_what_one_machine_pushes_the_other_pulls_and_again_is_nothing(machines):
    [(one, here), (two, there)], place = machines
    assert one.pull("kept") == one.push("kept") == 0
    write(here, a__x_txt="1", manifest_json="{}")
    assert one.push("kept") == 2
    assert two.pull("kept") == 2
    assert held(there) == held(here) == held(place) == {"a/x.txt": "1", "manifest.json": "{}"}
    assert one.push("kept") == one.pull("kept") == two.pull("kept") == two.push("kept") == 0


def test_changes_and_removals_go_both_ways_and_what_others_put_there_stays(machines):
    [(one, here), (two, there)], place = machines
    write(here, a_txt="1", b_txt="1")
    one.push("kept")
    two.pull("kept")
    write(there, b_txt="22", c_txt="3")
    (there / "kept" / "a.txt").unlink()
    write(here, d_txt="4")  # meanwhile, and not pushed yet
    assert two.push("kept") == 3
    assert one.push("kept") == 1
    assert one.pull("kept") == 3
    assert two.pull("kept") == 1
    expected = {"b.txt": "22", "c.txt": "3", "d.txt": "4"}
    assert held(here) == held(there) == held(place) == expected


def test_what_was_changed_here_alone_is_kept_by_a_pull_and_a_conflict_is_the_stores(machines):
    [(one, here), (two, there)], _ = machines
    write(here, mine_txt="1", both_txt="1")
    one.push("kept")
    two.pull("kept")
    write(here, mine_txt="a task that was killed before it pushed", both_txt="lost")
    write(there, both_txt="the store's")
    two.push("kept")
    one.pull("kept")
    assert held(here)["mine.txt"].startswith("a task")
    assert held(here)["both.txt"] == "the store's"
    one.push("kept")
    two.pull("kept")
    assert held(there) == held(here)


def test_what_says_that_others_are_there_is_written_last_on_both_sides(machines, monkeypatch):
    [(one, here), (two, _)], _ = machines
    names = ["manifest.json", "a/z.parquet", "a/.note.json", "champion", "z.parquet"]
    for name in names:
        path = here / "kept" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    pushed, pulled = [], []
    monkeypatch.setattr(
        one,
        "_write_there",
        lambda path, content: (pushed.append(path), ArtifactStore._write_there(one, path, content)),
    )
    one.push("kept")
    write_atomically = artifact_store.write_atomically
    monkeypatch.setattr(
        artifact_store,
        "write_atomically",
        lambda path, content: (pulled.append(path.name), write_atomically(path, content)),
    )
    two.pull("kept")
    for order in ([path.rpartition("/")[2] for path in pushed], pulled[: len(names)]):
        assert set(order[:2]) == {"z.parquet"}
        assert order[2] == ".note.json"
        assert set(order[3:]) == {"manifest.json", "champion"}


def test_a_lake_among_the_artefacts_gets_its_files_before_their_commits(machines, monkeypatch):
    [(one, here), _], _ = machines
    commits = [f"data/items/_delta_log/{number:020}.json" for number in range(3)]
    files = [f"data/items/part-{letter}.parquet" for letter in "abc"]
    for name in [*commits, *files]:
        path = here / "kept" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    pushed = []
    monkeypatch.setattr(one, "_write_there", lambda path, content: pushed.append(path))
    with pytest.raises(KeyError):  # nothing is there afterwards: the double keeps no file
        one.push("kept")
    assert sorted(pushed[:3]) == [f"kept/{name}" for name in files]
    assert pushed[3:] == [f"kept/{name}" for name in commits]


def test_many_files_are_copied_side_by_side_and_large_ones_one_by_one(machines, monkeypatch):
    [(one, here), (two, there)], _ = machines
    monkeypatch.setattr(artifact_store, "LARGE_BYTES", 1)
    write(here, **{f"small{number}_txt": "1" for number in range(4)})
    write(here, large1_txt="11", large2_txt="22")
    together, write_there = threading.Barrier(4, timeout=10), ArtifactStore._write_there
    under_way = []

    def waits_for_the_others(path, content):
        if content == b"1":
            together.wait()
        under_way.append(path)
        assert len(content) == 1 or len(under_way) > 4
        write_there(one, path, content)

    monkeypatch.setattr(one, "_write_there", waits_for_the_others)
    assert one.push("kept") == two.pull("kept") == 6
    assert held(there) == held(here)


def test_a_copy_that_fails_ends_a_push_and_the_next_brings_all(machines, monkeypatch):
    [(one, here), (two, there)], _ = machines
    write(here, a_txt="1", b_txt="1", manifest_json="{}")
    write_there, failing = ArtifactStore._write_there, ["kept/a.txt"]

    def fails_once(path, content):
        if path in failing:
            failing.remove(path)
            raise OSError("the store is away")
        write_there(one, path, content)

    monkeypatch.setattr(one, "_write_there", fails_once)
    with pytest.raises(OSError, match="away"):
        one.push("kept")
    two.pull("kept")
    assert "manifest.json" not in held(there)
    one.push("kept")
    two.pull("kept")
    assert held(there) == held(here)


def test_what_is_under_way_is_not_shared(machines):
    [(one, here), _], place = machines
    write(here, a_txt="1")
    (here / "kept" / ".version").mkdir()
    (here / "kept" / ".version" / "weights").write_text("half")
    (here / "kept" / ".a.txt.0f.tmp").write_text("half")
    one.push("kept")
    assert held(place) == {"a.txt": "1"}


def test_a_store_that_changes_while_it_is_copied_is_copied_again(machines, monkeypatch):
    [(one, here), (two, there)], _ = machines
    write(here, a_txt="1", manifest_json="of a")
    one.push("kept")
    pull, rounds = ArtifactStore._pull, []

    def changed_meanwhile(store, name, listed):
        if not rounds:
            write(here, b_txt="2", manifest_json="of a and b")
            one.push("kept")
        rounds.append(name)
        return pull(store, name, listed)

    monkeypatch.setattr(ArtifactStore, "_pull", changed_meanwhile)
    two.pull("kept")
    assert held(there) == {"a.txt": "1", "b.txt": "2", "manifest.json": "of a and b"}
    assert len(rounds) == 2

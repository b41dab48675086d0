"""Tests for recall/lite_folder.py: who holds a Milvus Lite folder, and until when.

Whoever holds it has locked its file `LOCK`; a test that locks it stands for another process.
"""

import fcntl
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

from recall.collection import IndexConfig
from recall.errors import Unavailable
from recall.index import ItemIndex


@pytest.fixture
def config(tmp_path):
    """Of a folder that is there and that nobody holds."""
    config = IndexConfig(uri=str(tmp_path / "items.db"), folder_wait_s=0.1)
    ItemIndex.open(config).close()
    return config


@contextmanager
def held_elsewhere(config):
    with open(f"{config.uri}/LOCK", "r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def test_a_folder_is_free_once_its_last_index_is_closed(config):
    with ItemIndex.open(config):
        with ItemIndex.open(config):
            pass
        with pytest.raises(BlockingIOError), held_elsewhere(config):
            pass
    with held_elsewhere(config):
        pass


def test_a_folder_that_another_process_holds_is_explained(config):
    with (
        held_elsewhere(config),
        pytest.raises(Unavailable, match=r"no other process, but one held it for 0\.1 s"),
    ):
        ItemIndex.open(config)


def test_a_folder_is_waited_for(config, caplog):
    patient = IndexConfig(uri=config.uri, folder_wait_s=60)
    with held_elsewhere(config):
        opened = threading.Thread(target=lambda: ItemIndex.open(patient).close())
        opened.start()
        opened.join(0.2)
        assert opened.is_alive()
    opened.join(30)
    assert not opened.is_alive()
    assert f"waiting for at most {patient.folder_wait_s:g} s" in caplog.text


def test_whoever_was_killed_holds_nothing(config):
    hold = (
        "import fcntl, sys; lock = open(sys.argv[1] + '/LOCK'); fcntl.flock(lock, fcntl.LOCK_EX);"
        "sys.stdout.write('held\\n'); sys.stdout.flush(); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, config.uri],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Unavailable):
            ItemIndex.open(config)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        ItemIndex.open(config).close()


def test_a_folder_that_could_not_be_opened_is_not_held(tmp_path):
    config = IndexConfig(uri=str(tmp_path / "file.db"), folder_wait_s=0.1)
    (tmp_path / "file.db").write_text("not a folder")
    with pytest.raises(Unavailable, match="must be a folder of Milvus Lite"):
        ItemIndex.open(config)
    (tmp_path / "file.db").unlink()
    ItemIndex.open(config).close()

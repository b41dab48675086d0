"""Tests for checkpoint.py: what loading takes of the host's memory."""

import json
import subprocess
import sys

import pytest
import torch

from embedder.model.checkpoint import load
from embedder.nano import architecture
from embedder.nano.checkpoint import save_checkpoint

MEASURED = """
import json, sys, threading, time
from embedder.model.checkpoint import load
def held():
    status = open("/proc/self/status").read()
    return int(status.split("RssAnon:")[1].split()[0]) * 1024
load("nano")  # so that what it imports is there
before, most, done = held(), [0], threading.Event()
def look():
    while not done.is_set():
        most[0] = max(most[0], held())
        time.sleep(0.002)
watcher = threading.Thread(target=look)
watcher.start()
network = load(sys.argv[1], device="meta", dtype="bfloat16").backbone.model
done.set()
watcher.join()
weights = list(network.parameters())
whole, largest = sum(one.nbytes for one in weights), max(4 * one.numel() for one in weights)
print(json.dumps({"peak": most[0] - before, "whole": whole, "largest": largest}))
"""


@pytest.mark.slow
def test_the_host_never_holds_the_weights_that_go_to_another_device(tokenizer, inputs, tmp_path):
    # "meta" stands for a GPU: what is put there takes no memory.
    config = architecture.build_model(tokenizer, 0).config
    config.text_config.update(
        {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 16}
    )
    config.vision_config.update({"out_hidden_size": 512})
    model = type(architecture.build_model(tokenizer, 0))(config)
    save_checkpoint(model, inputs, tmp_path)
    del model
    found = json.loads(
        subprocess.run(
            [sys.executable, "-c", MEASURED, str(tmp_path)], capture_output=True, check=True
        ).stdout
    )
    assert found["whole"] > 100e6
    # Of the float32 tensors, each of the loader's four threads holds one on its way.
    assert found["peak"] < 8 * found["largest"] + 20e6 < found["whole"] / 1.5


def test_weights_and_buffers_are_where_they_were_asked_for(folder):
    network = load(str(folder), device="meta").backbone.model
    places = {one.device.type for one in (*network.parameters(), *network.buffers())}
    assert places == {"meta"}
    assert network.dtype == torch.bfloat16

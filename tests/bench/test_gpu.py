"""Tests for bench/gpu.py and the benchmarks of published shapes, as far as a CPU can show them."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.engine_parts import PARTS_OF, PLACES, without

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_script_for_a_gpu_runs_all_its_parts(tmp_path):
    out = tmp_path / "gpu.json"
    sizes = ["--items", "8", "--reasoned", "8", "--out", str(out)]
    command = ["bench/gpu.py", "--shape", "tiny", "--device", "cpu", *sizes]
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True)
    result = json.loads(out.read_text())
    for part in ("tests", "direct", "reasoned", "parts"):
        assert result[part]["status"] == 0, result[part]
    assert result["direct"]["least_cosine"] > 0.99999
    assert result["direct"]["padded_over_real"] >= 1
    assert result["reasoned"]["equal_rationales"] == 1
    assert set(result["reasoned"]["alone"]) == {"direct_ms", "reasoned_ms", "generate_ms"}
    for name, policy in (("direct", "never"), ("reasoned", "always")):
        left_out = {f"without_{part}" for part in PARTS_OF[policy]}
        assert result["parts"][name].keys() == {"all", *left_out}


@pytest.mark.parametrize("part", PLACES)
def test_a_part_that_is_left_out_is_there_and_comes_back(part):
    path, instead = PLACES[part]
    module, _, name = path.rpartition(".")
    whole = getattr(importlib.import_module(module), name)
    with without(part):
        assert getattr(importlib.import_module(module), name) is instead
    assert getattr(importlib.import_module(module), name) is whole
    assert whole is not instead

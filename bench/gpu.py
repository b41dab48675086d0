"""Everything that a GPU is to show, in one short run: the `gpu` tests, then the benchmarks.

    python bench/gpu.py --shape qwen3-vl-2b --out .ponder/gpu.json

Writes one JSON object with the card, the versions, what the tests said and what was measured. Each
part has its own process and its own limit of time, so that one that hangs does not cost the others;
together they are below eight minutes.
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
import transformers

BENCH = Path(__file__).resolve().parent
LIMITS_S = {"tests": 140, "direct": 100, "reasoned": 120, "parts": 110}


def part(command: list[str], limit_s: int) -> dict[str, Any]:
    """Run a part of it; return its exit status, its seconds and the end of what it said."""
    began = time.perf_counter()
    try:
        run = subprocess.run(
            [sys.executable, *command],
            cwd=BENCH.parent,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"status": "timeout", "seconds": limit_s}
    found = {"status": run.returncode, "seconds": round(time.perf_counter() - began, 1)}
    last = run.stdout.strip().rpartition("\n")[2]
    if run.returncode == 0 and last.startswith("{"):
        return found | json.loads(last)
    return found | {"said": (run.stdout + run.stderr)[-2_000:]}


def main() -> None:
    """Run all parts as the command line says."""
    parser = argparse.ArgumentParser(description="Run what needs a GPU, and keep its results.")
    parser.add_argument("--shape", default="qwen3-vl-2b", help="of the benchmarks' random weights")
    parser.add_argument("--device", default="cuda", help="of the benchmarks")
    parser.add_argument("--items", type=int, default=768, help="of the direct benchmark")
    parser.add_argument("--reasoned", type=int, default=512, help="items of the reasoned one")
    parser.add_argument("--out", type=Path, default=Path(".ponder/gpu.json"), help="results")
    options = parser.parse_args()
    shape = ["--shape", options.shape, "--device", options.device]
    once = [*shape, "--rounds", "1"]
    parts = {
        "tests": ["-m", "pytest", "-q", "-m", "gpu", "tests/embedder/gpu"],
        "direct": [str(BENCH / "encode.py"), *once, "--items", str(options.items)],
        "reasoned": [str(BENCH / "reason.py"), *once, "--queries", str(options.reasoned)],
        "parts": [str(BENCH / "shaped_parts.py"), *shape, "--items", str(options.items)],
    }
    result: dict[str, Any] = {
        "card": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for name, command in parts.items():
        result[name] = part(command, LIMITS_S[name])
        options.out.write_text(json.dumps(result, indent=1) + "\n")  # what comes after may hang
        print(name, json.dumps(result[name]))


if __name__ == "__main__":
    main()

"""Tests for distributed.py: real processes exchange, and two train what one does.

Processes that load the whole embedder take long to start, so the training runs in threads whose
processes exchange as `Processes` is documented to.
"""

import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest
import torch

from embedder.finetune.records import WeightedRationale as Rationale
from embedder.finetune.training.cached_forward import CachedForward
from embedder.finetune.training.config import JointLossConfig, SequenceObjectiveConfig
from embedder.finetune.training.distributed import Processes
from embedder.finetune.training.item_objectives import backward
from embedder.finetune.training.joint_loss import JointLoss, SampledExample
from embedder.finetune.training.sequence_objective import SequenceObjective

EXCHANGE = """
import time
from pathlib import Path

import torch
from embedder.finetune.training.distributed import Processes

processes = Processes.joined()
rows = torch.arange(10.0).view(5, 2)
assert torch.equal(processes.gathered(rows[processes.rank :: processes.size], num_rows=5), rows)
assert processes.summed(torch.tensor(1.0 + processes.rank)).item() == 3
one, other = (torch.nn.Parameter(torch.zeros(2)) for _ in range(2))
one.grad = torch.tensor([1.0, 10.0 * processes.rank])
if processes.is_first:
    other.grad = torch.ones(2)
processes.sum_gradients([one, other])
assert one.grad.tolist() == [2, 10]
assert other.grad.tolist() == [1, 1]
if processes.is_first:
    time.sleep(0.3)
    Path("here").touch()
processes.wait()
assert Path("here").exists()
processes.leave()
assert not torch.distributed.is_initialized()
"""


def assert_shared(trained):
    """Two processes have the losses of one process each, and its gradient between them."""
    expected_losses, expected = trained(Processes())
    with ThreadPoolExecutor(2) as pool:
        shares = list(pool.map(trained, [ThreadRanks(0, 2), ThreadRanks(1, 2)]))
    for losses, _ in shares:
        assert losses == pytest.approx(expected_losses, rel=1e-5)
    total = shares[0][1] + shares[1][1]
    torch.testing.assert_close(
        total / expected.norm(), expected / expected.norm(), atol=1e-5, rtol=0
    )


def test_processes_exchange_rows_sum_gradients_and_wait(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    root = Path(__file__).resolve().parents[4]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    shared["OMP_NUM_THREADS"] = "1"
    children = [
        subprocess.Popen(
            [sys.executable, "-c", EXCHANGE],
            cwd=tmp_path,
            env=os.environ | shared | {"RANK": str(rank), "PYTHONPATH": str(root)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for child in children:
        _, complaint = child.communicate(timeout=120)
        assert child.returncode == 0, complaint


SLOTS: dict[int, torch.Tensor] = {}
BARRIER = threading.Barrier(2)


class ThreadRanks(Processes):
    """Processes of threads, with one place that they all write to."""

    def _exchange(self, value):
        SLOTS[self.rank] = value
        BARRIER.wait()
        values = [SLOTS[rank] for rank in range(self.size)]
        BARRIER.wait()
        return values

    def gathered(self, own_MD, *, num_rows):
        shares = self._exchange(own_MD.detach())
        rows = [shares[row % self.size][row // self.size] for row in range(num_rows)]
        return torch.stack(rows)

    def summed(self, value):
        return sum(self._exchange(value.detach()))


@pytest.mark.parametrize("chunk_size", [None, 2])
def test_the_gradients_of_two_ranks_add_up_to_those_of_one(fresh, pairs, chunk_size):
    examples = [
        SampledExample(pair, Rationale("grass is green", "hats") if row % 3 == 0 else None)
        for row, pair in enumerate(pairs[:5])
    ]

    def trained(processes):
        checkpoint = fresh()
        backbone = checkpoint.backbone.requires_grad_(True)
        objective = JointLoss(
            CachedForward(backbone, checkpoint.inputs),
            checkpoint.manifest,
            JointLossConfig(gate=0.5, chunk_size=chunk_size),
            processes=processes,
        )
        losses = objective.backward(examples)
        return losses, torch.cat([p.grad.flatten() for p in backbone.parameters()])

    assert_shared(trained)


def test_two_ranks_share_the_items_of_an_objective(fresh, pairs):
    contents = {pair.target_key: pair.target for pair in pairs}
    items = sorted(contents)
    likes = pl.DataFrame({"items": [[item] for item in items[:-1]], "target": items[1:]})
    objective = SequenceObjective(likes, contents, {}, SequenceObjectiveConfig(batch_size=4))

    def trained(processes):
        checkpoint = fresh()
        backbone = checkpoint.backbone.requires_grad_(True)
        model = CachedForward(backbone, checkpoint.inputs)
        losses = backward(objective, 0, model, checkpoint.manifest, processes=processes)
        return losses, torch.cat(
            [
                (torch.zeros_like(p) if p.grad is None else p.grad).flatten()
                for p in backbone.parameters()
            ]
        )

    assert_shared(trained)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_every_row_belongs_to_one_process(size):
    rows = list(range(7))
    shares = [Processes(rank, size).own(rows) for rank in range(size)]
    assert sorted(row for share in shares for row in share) == rows
    assert max(map(len, shares)) - min(map(len, shares)) <= 1

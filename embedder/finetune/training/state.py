"""Checkpoint of a training's state, as safetensors and no pickle, that a killed one goes on from.

One file holds the trained weights, their moving average and the optimiser's moments; it is replaced
in one step, so that a kill while writing leaves the previous one.
"""

from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from catalog.atomic_file import write_atomically
from embedder.finetune.training.optimizer import AveragedAdamW


def save_state(path: Path, optimizer: AveragedAdamW, *, num_done: int) -> None:
    """Write everything that the next step depends on; untrained weights are left out.

    Args:
        path: file to write.
        optimizer: over the weights.
        num_done: steps that have been made.
    """
    tensors = {f"weight.{n}": p.detach() for n, p in enumerate(optimizer.parameters)}
    tensors |= {f"average.{n}": tensor for n, tensor in enumerate(optimizer.average)}
    for n, moments in optimizer.adamw.state_dict()["state"].items():
        tensors |= {f"optimizer.{n}.{name}": tensor for name, tensor in moments.items()}
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    write_atomically(
        path, lambda unfinished: save_file(tensors, unfinished, {"num_done": str(num_done)})
    )


@torch.no_grad()
def load_state(path: Path, optimizer: AveragedAdamW) -> int:
    """Put what `save_state` wrote into the same weights and return the steps that were made."""
    moments: dict[int, dict[str, torch.Tensor]] = {}
    with safe_open(path, framework="pt") as file:
        for n, parameter in enumerate(optimizer.parameters):
            parameter.copy_(file.get_tensor(f"weight.{n}"))
            optimizer.average[n].copy_(file.get_tensor(f"average.{n}"))
        for name in file.keys():  # noqa: SIM118, safe_open is no mapping
            kind, index, *rest = name.split(".")
            if kind == "optimizer":
                moments.setdefault(int(index), {})[rest[0]] = file.get_tensor(name)
        num_done = int(file.metadata()["num_done"])
    optimizer.adamw.load_state_dict(optimizer.adamw.state_dict() | {"state": moments})
    return num_done

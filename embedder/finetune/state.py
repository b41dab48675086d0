"""Where a training stands, kept as safetensors so that a killed one goes on: no pickle.

One file holds weights, their moving average and the optimiser's moments; it is replaced in one
step, so that a kill while writing leaves the previous one.
"""

from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from embedder.backbone import Backbone


def save_state(
    path: Path,
    backbone: Backbone,
    average: list[torch.Tensor],
    optimizer: torch.optim.Optimizer,
    *,
    num_done: int,
) -> None:
    """Writes everything that the next step depends on.

    Args:
        path: file to write.
        backbone: the weights.
        average: one tensor for each of the backbone's parameters, in their order.
        optimizer: over the same parameters.
        num_done: steps that have been made.
    """
    tensors = {f"weight.{n}": p.detach() for n, p in enumerate(backbone.parameters())}
    tensors |= {f"average.{n}": tensor for n, tensor in enumerate(average)}
    for n, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{n}.{name}": tensor for name, tensor in moments.items()}
    temporary = path.with_suffix(".tmp")
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()},
        temporary,
        {"num_done": str(num_done)},
    )
    temporary.replace(path)


@torch.no_grad()
def load_state(
    path: Path,
    backbone: Backbone,
    average: list[torch.Tensor],
    optimizer: torch.optim.Optimizer,
) -> int:
    """Puts what `save_state` wrote into the same parts and returns the steps that were made."""
    moments: dict[int, dict[str, torch.Tensor]] = {}
    with safe_open(path, framework="pt") as file:
        for n, parameter in enumerate(backbone.parameters()):
            parameter.copy_(file.get_tensor(f"weight.{n}"))
            average[n].copy_(file.get_tensor(f"average.{n}"))
        for name in file.keys():  # noqa: SIM118, safe_open is no mapping
            kind, index, *rest = name.split(".")
            if kind == "optimizer":
                moments.setdefault(int(index), {})[rest[0]] = file.get_tensor(name)
        num_done = int(file.metadata()["num_done"])
    optimizer.load_state_dict(optimizer.state_dict() | {"state": moments})
    return num_done

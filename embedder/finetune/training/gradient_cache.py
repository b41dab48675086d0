"""GradCache (Gao et al. 2021): gradients over a batch that is too large for one graph.

A contrastive loss needs the vectors of the whole batch at once, but not their graphs. So the
vectors are computed without graphs, the loss gives each vector its gradient, and then chunk after
chunk is computed anew with its graph and goes backward from those gradients. They equal the
gradients of the plain step but for the order of float32 sums. sentence-transformers'
CachedMultipleNegativesRankingLoss does the same; here any loss on the vectors may be given, and
losses that need one entry alone go along.

Shape legend: N = entries of the batch, M = vectors of an entry, D = embedding dimension
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from embedder.finetune.training.distributed import Processes

E = TypeVar("E")
Losses = dict[str, torch.Tensor]

Forward = Callable[[Sequence[E], bool], tuple[torch.Tensor, Losses]]
"""Entries to their vectors [entries, M, D] and, when asked, their shares of the losses that need no
other entry."""


def cached_backward(
    entries: Sequence[E],
    forward: Forward[E],
    contrast: Callable[[torch.Tensor], Losses],
    *,
    chunk_size: int | None,
    processes: Processes,
) -> dict[str, float]:
    """GradCache: add the gradients of all losses to the parameters', and return the losses.

    Args:
        entries: the whole batch, on every process the same.
        forward: see `Forward`; called twice for an entry must give the same.
        contrast: [N, M, D] vectors of the whole batch to losses.
        chunk_size: entries that are computed with a graph at once; None: all.
        processes: each process computes its own entries; sum their gradients afterwards.
    """
    own = processes.own(entries)
    size = chunk_size or len(own)
    chunks = [own[start : start + size] for start in range(0, len(own), size)]
    if len(chunks) == 1:  # its graph can stay
        kept = forward(own, True)
        own_vectors = kept[0]
    else:
        kept = None
        with torch.no_grad():
            own_vectors = torch.cat([forward(chunk, False)[0] for chunk in chunks])
    vectors_NMD = processes.gathered(own_vectors, num_rows=len(entries)).requires_grad_()
    losses = contrast(vectors_NMD)
    vectors_NMD.grad = torch.zeros_like(vectors_NMD)
    if losses:
        torch.stack(list(losses.values())).sum().backward()
    gradients = vectors_NMD.grad[processes.rank :: processes.size].split(size)
    shares: dict[str, torch.Tensor] = {}
    for chunk, gradient in zip(chunks, gradients, strict=True):
        vectors, own_losses = kept or forward(chunk, True)
        total = torch.stack([(vectors * gradient).sum(), *own_losses.values()]).sum()
        total.backward()
        for name, loss in own_losses.items():
            shares[name] = shares.get(name, 0.0) + loss.detach()
    losses |= {name: processes.summed(share) for name, share in shares.items()}
    return {name: loss.item() for name, loss in losses.items()}

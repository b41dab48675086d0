"""Contrastive losses: InfoNCE, and its mean over Matryoshka prefixes.

Shape legend:
  B = queries in the batch, N = targets in the batch (the first B are the queries' own),
  D = embedding dimension
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F


def info_nce(
    query_BD: torch.Tensor,
    target_ND: torch.Tensor,
    *,
    contrastive_temperature: float,
    is_false_negative_BN: torch.Tensor | None = None,
    false_negative_margin: float | None = None,
) -> torch.Tensor:
    """InfoNCE in both directions: pull each query to its own target and away from the rest.

    Row `i` of `query_BD` belongs to row `i` of `target_ND`; targets past the first B are negatives
    only. (van den Oord et al. 2018, with cosine similarity in place of the bilinear score; the mean
    of the query -> target and the target -> query direction, as UME-R1's code has it.) It equals
    sentence-transformers' MultipleNegativesRankingLoss with both directions, partitioned by
    direction, and scale 1 / temperature; only queries meet the hard negatives. With a margin it is
    both directions of GISTEmbedLoss (Solatorio 2024), guided by the model itself.

    Args:
        query_BD: query embeddings, L2-normalised.
        target_ND: target embeddings, L2-normalised, N >= B.
        contrastive_temperature: divides the cosines; dimensionless, > 0.
        is_false_negative_BN: True where a target that is not the query's own would be right as
            well; such pairs are left out. None: there are none.
        false_negative_margin: a target whose cosine with a query is larger than that of the query's
            own by more than this is taken for a false negative too, and so is a query of a target
            (Qwen3-VL-Embedding's report, with 0.1). None: none is.

    Returns:
        Scalar loss in nats, averaged over the queries; 0 when B and N are 1.

    Raises:
        ValueError: fewer targets than queries, or a temperature that is not positive.
    """
    B, N = query_BD.shape[0], target_ND.shape[0]
    if N < B:
        raise ValueError(f"every query needs its own target: got {B} queries and {N} targets")
    if contrastive_temperature <= 0:
        raise ValueError(f"contrastive_temperature must be > 0, got {contrastive_temperature}")
    cosine_BN = query_BD @ target_ND.T
    left_out_BN = torch.zeros_like(cosine_BN, dtype=torch.bool)
    if is_false_negative_BN is not None:
        left_out_BN = is_false_negative_BN.clone()
        left_out_BN[:, :B].fill_diagonal_(False)  # a query's own target stays the positive
    too_near_BN = too_near_BB = left_out_BN.new_zeros(())
    if false_negative_margin is not None:
        own_cosine_B = cosine_BN.detach().diagonal()
        too_near_BN = cosine_BN.detach() > own_cosine_B[:, None] + false_negative_margin
        too_near_BB = cosine_BN.detach()[:, :B] > own_cosine_B + false_negative_margin
    logits_BN = (cosine_BN / contrastive_temperature).masked_fill(left_out_BN, float("-inf"))
    own_B = torch.arange(B, device=logits_BN.device)
    forward = F.cross_entropy(logits_BN.masked_fill(too_near_BN, float("-inf")), own_B)
    logits_BB = logits_BN[:, :B].masked_fill(too_near_BB, float("-inf"))
    backward = F.cross_entropy(logits_BB.T, own_B)
    return (forward + backward) / 2


def matryoshka_info_nce(
    query_BD: torch.Tensor,
    target_ND: torch.Tensor,
    *,
    dims: Sequence[int],
    contrastive_temperature: float,
    is_false_negative_BN: torch.Tensor | None = None,
    false_negative_margin: float | None = None,
) -> torch.Tensor:
    """Matryoshka loss: mean of `info_nce` over prefixes of the vectors, each normalised again.

    (Kusupati et al. 2022; SAIL-Embedding section 3.3.2 adds the prefixes' losses with equal weight,
    here they are averaged so that the scale does not depend on how many there are. So it is
    sentence-transformers' MatryoshkaLoss divided by the number of prefixes.)
    """
    losses = [
        info_nce(
            F.normalize(query_BD[:, :dim], dim=-1),
            F.normalize(target_ND[:, :dim], dim=-1),
            contrastive_temperature=contrastive_temperature,
            is_false_negative_BN=is_false_negative_BN,
            false_negative_margin=false_negative_margin,
        )
        for dim in dims
    ]
    return torch.stack(losses).mean()

"""A length kernel of plain operations: gathers each sequence's rows, and drops those behind it."""

import torch


def gathered(query_QKD, keys_WKD, values_WKD, *, starts, lengths_S, most):
    """Attend as `embedder.model.decode_attention.LengthKernel` says; a recorder can repeat it."""
    first_query, first_row = (start.long()[:-1] for start in starts)
    most_queries, most_rows = most
    place = torch.arange(most_rows)
    is_kept_SC = place < lengths_S[:, None]
    rows_SC = (first_row[:, None] + place).clamp(max=len(keys_WKD) - 1)
    kept = is_kept_SC[:, :, None, None]
    keys, values = (torch.where(kept, rows[rows_SC], 0) for rows in (keys_WKD, values_WKD))
    query = query_QKD[first_query[:, None] + torch.arange(most_queries)]  # [S, G, K, D]
    scores = torch.einsum("sgkd,sckd->sgkc", query, keys) * query.shape[-1] ** -0.5
    scores = scores.masked_fill(~is_kept_SC[:, None, None], float("-inf"))
    return torch.einsum("sgkc,sckd->sgkd", scores.softmax(-1), values).flatten(0, 1)

"""Give a checkpoint the tokens of a silent mode, for a training to teach it what they are for.

The gate token starts as a copy of the direct one's row, so the gate finds both equally likely. The
latents start as draws with the mean and deviation of all rows: copies of one row would differ by
their place alone.
"""

import copy
from collections.abc import Mapping
from dataclasses import replace

import torch

from embedder.model.checkpoint import Checkpoint, add_tokens
from embedder.prompting.template import DIRECT, SILENT, latent
from embedder.version import SilentMode


def with_silent_mode(checkpoint: Checkpoint, mode: SilentMode, *, seed: int = 0) -> Checkpoint:
    """Return the checkpoint with a silent mode that has learnt nothing; its model is changed.

    Tokens that it knows already stay as they are.

    Args:
        checkpoint: any.
        mode: what its manifest is to say.
        seed: of the latents' rows.
    """
    tokenizer = copy.deepcopy(checkpoint.inputs.tokenizer)
    wanted = [SILENT, *map(latent, range(mode.num_tokens))]
    known = tokenizer.get_added_vocab()
    missing = [token for token in wanted if token not in known]
    if missing:
        network = checkpoint.backbone.model
        ids = dict(zip(missing, add_tokens(tokenizer, network, missing), strict=True))
        direct_id = tokenizer.convert_tokens_to_ids(DIRECT)
        for layer in (network.get_input_embeddings(), network.get_output_embeddings()):
            _begin(layer.weight, ids, direct_id=direct_id, seed=seed)
    inputs = checkpoint.inputs.with_tokenizer(tokenizer)
    manifest = replace(checkpoint.manifest, silent=mode)
    return replace(checkpoint, inputs=inputs).read_as(manifest)


@torch.no_grad()
def _begin(weight_VH: torch.Tensor, ids: Mapping[str, int], *, direct_id: int, seed: int) -> None:
    """Fill the new rows; twice alike where one matrix is both input and output."""
    old_VH = weight_VH[: min(ids.values())].float()
    generator = torch.Generator().manual_seed(seed)
    for token, row in ids.items():
        drawn_H = torch.randn(old_VH.shape[1], generator=generator).to(old_VH.device)
        drawn_H = old_VH.mean(dim=0) + old_VH.std(dim=0) * drawn_H
        weight_VH[row] = weight_VH[direct_id] if token == SILENT else drawn_H

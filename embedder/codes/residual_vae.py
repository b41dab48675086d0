"""An RQ-VAE: a small network that is trained so that residual codes of its latents lose little.

After TIGER (Rajput et al. 2023, arXiv 2305.05065): an encoder, codes of what each level leaves
over, a decoder that reads the sum of the codes' centroids; the loss is the squared error of the
vector, and at each level the distance of centroid and latent, each drawn to the other. Centroids
begin as the k-means of the latents of the first vectors. Changed or left out: AdamW and a cosine
instead of Adagrad, vectors centred and scaled all alike before they enter, and codes that nobody
takes are put where a vector is (Dhariwal et al. 2020, arXiv 2005.00341), where TIGER relies on the
start alone.

Legend: N = vectors, D = their dimension, B = vectors of a batch, C = latent dimension, L = levels,
K = codes of a level.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from embedder.codes.codebooks import Codebooks, Described, Layer
from embedder.codes.config import CodesConfig
from embedder.codes.residual_kmeans import residual_centroids
from embedder.finetune.training.optimizer import cosine_rate

WARMUP_STEPS = 50
MAX_GRADIENT_NORM = 1.0
START_ROWS = 32
"""Vectors for each code whose latents the centroids begin with, at most."""


class ResidualVae(nn.Module):
    """Encoder, centroids and decoder, of vectors that are centred and scaled."""

    def __init__(self, dim: int, config: CodesConfig) -> None:
        """Make layers with random weights of the global generator, and centroids at 0."""
        super().__init__()
        sizes = (dim, *config.hidden_sizes, config.latent_dim)
        self.encoder, self.decoder = _perceptron(sizes), _perceptron(sizes[::-1])
        shape = (config.num_levels, config.num_codes, config.latent_dim)
        self.centroids_LKC = nn.Parameter(torch.zeros(shape))
        self._commitment = config.commitment

    def loss(self, vectors_BD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the loss of a batch, its codes [B, L], and what each level had to code."""
        latent_BC = self.encoder(vectors_BD)
        codes, lefts, left_BC = [], [], latent_BC
        drawn = vectors_BD.new_zeros(())
        for centroids_KC in self.centroids_LKC:
            code_B = _nearest(left_BC.detach(), centroids_KC.detach())
            chosen_BC = centroids_KC[code_B]
            drawn = drawn + F.mse_loss(chosen_BC, left_BC.detach())
            drawn = drawn + self._commitment * F.mse_loss(left_BC, chosen_BC.detach())
            codes.append(code_B)
            lefts.append(left_BC.detach())
            left_BC = left_BC - chosen_BC.detach()
        quantised_BC = latent_BC - left_BC.detach()  # straight through: the latents' gradient
        loss = F.mse_loss(self.decoder(quantised_BC), vectors_BD) + drawn
        return loss, torch.stack(codes, dim=1), torch.stack(lefts)


def residual_vae(vectors_ND: np.ndarray, config: CodesConfig, model_version: str) -> Codebooks:
    """Learn codebooks of vectors; see `embedder.codes.learning.learned`."""
    mean_D = vectors_ND.mean(axis=0, dtype=np.float64)
    spread = float(np.sqrt(((vectors_ND - mean_D) ** 2).mean()))
    scale = 1 / spread if spread > 1e-12 else 1.0
    scaled_ND = torch.from_numpy(((vectors_ND - mean_D) * scale).astype(np.float32))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = ResidualVae(vectors_ND.shape[1], config)
    _train(model, scaled_ND, config)
    encoder = _layers(model.encoder)
    decoder = _layers(model.decoder)
    (first, bias), (last, last_bias) = encoder[0], decoder[-1]
    # Centring and scale become a part of the layers that meet the vectors themselves.
    encoder[0] = _float32(first * scale, bias - (first * scale) @ mean_D)
    decoder[-1] = _float32(last / scale, last_bias / scale + mean_D)
    return Codebooks(
        of=Described(model_version=model_version, config=config),
        centroids_LKC=model.centroids_LKC.detach().numpy(),
        encoder=tuple(_float32(*layer) for layer in encoder),
        decoder=tuple(_float32(*layer) for layer in decoder),
    )


def _train(model: ResidualVae, scaled_ND: torch.Tensor, config: CodesConfig) -> None:
    rng = np.random.default_rng(config.seed)
    _begin(model, scaled_ND, config, rng)
    adamw = torch.optim.AdamW(model.parameters(), weight_decay=0.0)
    shape = (config.num_levels, config.num_codes)
    is_taken_LK = torch.zeros(shape, dtype=torch.bool)
    last_restart = config.steps - 2 * config.restart_steps  # what was put somewhere must settle
    for step in range(config.steps):
        rows = torch.from_numpy(rng.integers(len(scaled_ND), size=config.batch_size))
        loss, codes_BL, lefts_LBC = model.loss(scaled_ND[rows])
        adamw.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
        for group in adamw.param_groups:
            group["lr"] = cosine_rate(
                step,
                peak=config.learning_rate,
                warmup_steps=WARMUP_STEPS,
                num_steps=config.steps,
            )
        adamw.step()
        is_taken_LK.scatter_(1, codes_BL.T, True)
        if (step + 1) % config.restart_steps == 0 and step < last_restart:
            _restart(model, is_taken_LK, lefts_LBC, rng)
            is_taken_LK.zero_()


@torch.no_grad()
def _begin(
    model: ResidualVae, scaled_ND: torch.Tensor, config: CodesConfig, rng: np.random.Generator
) -> None:
    """Put the centroids where k-means of the latents of some vectors has them."""
    num_rows = min(len(scaled_ND), START_ROWS * config.num_codes)
    rows = torch.from_numpy(np.sort(rng.choice(len(scaled_ND), num_rows, replace=False)))
    latents = model.encoder(scaled_ND[rows]).numpy()
    for level, centroids_KC in enumerate(residual_centroids(latents, config, rng)):
        model.centroids_LKC[level] = torch.from_numpy(centroids_KC)


@torch.no_grad()
def _restart(
    model: ResidualVae,
    is_taken_LK: torch.Tensor,
    lefts_LBC: torch.Tensor,
    rng: np.random.Generator,
) -> None:
    """Put each code that nobody took where some vector of the last batch is."""
    for level, is_taken_K in enumerate(is_taken_LK):
        idle_K = torch.nonzero(~is_taken_K)[:, 0]
        rows = torch.from_numpy(rng.integers(lefts_LBC.shape[1], size=len(idle_K)))
        model.centroids_LKC[level, idle_K] = lefts_LBC[level, rows]


def _nearest(left_BC: torch.Tensor, centroids_KC: torch.Tensor) -> torch.Tensor:
    return (centroids_KC.square().sum(dim=1) - 2 * left_BC @ centroids_KC.T).argmin(dim=1)


def _perceptron(sizes: Sequence[int]) -> nn.Sequential:
    """Return linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for into, out in pairwise(sizes):
        layers += [nn.Linear(into, out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _layers(perceptron: nn.Sequential) -> list[Layer]:
    """Return weights and biases, float64."""
    linear = [layer for layer in perceptron if isinstance(layer, nn.Linear)]
    return [
        (layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy())
        for layer in linear
    ]


def _float32(weight: np.ndarray, bias: np.ndarray) -> Layer:
    return weight.astype(np.float32), bias.astype(np.float32)

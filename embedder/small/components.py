"""Principal components of features, scaled by their deviation.

Shape legend: N = rows, F = features, C = components
"""

import torch
import torch.nn.functional as F

LEAST_VARIANCE = 1e-9
"""Of a component, as a share of the first one's; below it there is nothing but rounding."""


def components(features_NF: torch.Tensor, num: int, *, power: float) -> torch.Tensor:
    """Return [N, C] float32 principal components, the largest first, scaled.

    Args:
        features_NF: what is centred and turned; N >= 1.
        num: C; what the features lack of it is filled with zeros.
        power: each component is divided by its deviation to this power. 0: nothing is scaled, 1:
            all have variance 1 (whitening).
    """
    centred_NF = (features_NF - features_NF.mean(dim=0)).double()
    variance_F, axes_FF = torch.linalg.eigh(centred_NF.T @ centred_NF / len(centred_NF))
    variance_C, axes_FC = variance_F[-num:].flip(0), axes_FF[:, -num:].flip(1)
    scale_C = variance_C.clamp_min(0) ** (-power / 2)
    scale_C[variance_C <= variance_C[0] * LEAST_VARIANCE] = 0
    found_NC = (centred_NF @ axes_FC * scale_C).float()
    return F.pad(found_NC, (0, num - found_NC.shape[1]))

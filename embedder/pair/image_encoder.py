"""Frozen encoders of images: EfficientNet-Lite0, or any vision model of transformers.

Images are resized by Pillow alone: torchvision's filters are others, and with them the vectors.

Shape legend: N = images, P = channels, height and width, F = features
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoModel

from embedder.pair.efficientnet import EfficientNetLite0
from embedder.version import fetched_folder

LITE0_CONFIG = {"model_type": "efficientnet-lite0"}
LITE0_PROCESSOR = {"size": 224, "resample": "bicubic", "mean": 127.0, "std": 128.0, "fill": "white"}
"""How the published weights want their images: padded to a square, and not squeezed or cut."""

PROCESSOR = "preprocessor_config.json"


class ImageEncoder(Protocol):
    """What makes features of images, and is not trained."""

    num_features: int
    """F."""

    def prepared(self, image: Image.Image) -> torch.Tensor:
        """Return [P] pixel values as the model reads them, of an upright RGB image."""
        ...

    def features(self, prepared: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return [N, F] float32 features on the CPU, each independent of the others."""
        ...

    def save(self, folder: Path) -> None:
        """Write everything that decides a feature to a folder that opens to the same encoder."""
        ...


def open_image_encoder(model: str, *, device: str = "cpu") -> ImageEncoder:
    """Open a folder or hub id: safetensors alone, and no code of its own.

    Raises:
        FileNotFoundError: it does not exist, or holds no safetensors weights.
        ValueError: it is no model of images, or brings code along.
    """
    folder = image_folder(model)
    if _model_type(folder) == LITE0_CONFIG["model_type"]:
        return Lite0(folder, device=device)
    return TransformersVision(folder, device=device)


def image_folder(model: str) -> Path:
    """Return the folder of an image encoder, then downloaded where it is a hub id.

    Raises:
        FileNotFoundError: as of `open_image_encoder`.
    """
    folder = fetched_folder(model)
    for needed in ("config.json", PROCESSOR):
        if not (folder / needed).is_file():
            raise FileNotFoundError(
                f"{folder} must hold {needed}, as a vision model of transformers does or what "
                "`ponder embedder unpack lite0` writes"
            )
    if not any(folder.glob("*.safetensors")):
        raise FileNotFoundError(
            f"{folder} must hold *.safetensors weights; convert other formats first, they are not "
            "read because they can run code"
        )
    return folder


class Lite0:
    """EfficientNet-Lite0 on images that are padded to a square."""

    num_features = EfficientNetLite0.num_features

    def __init__(self, folder: Path, *, device: str) -> None:
        """Load the weights of a folder that `embedder.pair.packaged_weights.unpack` wrote."""
        self._folder, self._device = folder, device
        self._processor: dict[str, Any] = json.loads((folder / PROCESSOR).read_text())
        network = EfficientNetLite0()
        network.load_state_dict(load_file(folder / "model.safetensors"))
        self._network = network.eval().requires_grad_(False).to(device)
        # torch's own annotations leave this form of `to` out.
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def prepared(self, image: Image.Image) -> torch.Tensor:
        """See `ImageEncoder`."""
        told, longest = self._processor, max(image.size)
        square = Image.new("RGB", (longest, longest), told["fill"])
        square.paste(image, ((longest - image.width) // 2, (longest - image.height) // 2))
        resample = Image.Resampling[told["resample"].upper()]
        values_HWP = np.asarray(square.resize((told["size"],) * 2, resample), np.float32)
        return torch.from_numpy((values_HWP - told["mean"]) / told["std"]).permute(2, 0, 1)

    @torch.inference_mode()
    def features(self, prepared: Sequence[torch.Tensor]) -> torch.Tensor:
        """See `ImageEncoder`."""
        images_N3HW = torch.stack(list(prepared)).to(
            self._device, memory_format=torch.channels_last
        )
        return self._network(images_N3HW).float().cpu()

    def save(self, folder: Path) -> None:
        """See `ImageEncoder`."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("model.safetensors", "config.json", PROCESSOR):
            shutil.copyfile(self._folder / name, folder / name)


class TransformersVision:
    """A vision model of transformers: its image features, pooled states or mean state."""

    def __init__(self, folder: Path, *, device: str) -> None:
        """Load a folder with `AutoModel` and `AutoImageProcessor`, on Pillow.

        Raises:
            ValueError: it is no model of images of one size, lacks weights, or brings code along.
        """
        self._processor = AutoImageProcessor.from_pretrained(
            folder, trust_remote_code=False, backend="pil"
        )
        model, loaded = AutoModel.from_pretrained(
            folder,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
        self._model = _without_random_weights(model, set(loaded["missing_keys"]), folder)
        self._model = self._model.eval().requires_grad_(False).to(device)
        self._device = device
        grey = self.prepared(Image.new("RGB", (64, 64), "grey"))
        self.num_features: int = self.features([grey]).shape[1]

    def prepared(self, image: Image.Image) -> torch.Tensor:
        """See `ImageEncoder`."""
        values = self._processor(images=[image], return_tensors="pt")["pixel_values"]
        if values.ndim != 4:
            raise ValueError(
                "an image encoder must take images of one size, got pixel values of shape "
                f"{tuple(values.shape)}; choose a model such as ViT, DINOv2, CLIP or SigLIP"
            )
        return values[0]

    @torch.inference_mode()
    def features(self, prepared: Sequence[torch.Tensor]) -> torch.Tensor:
        """See `ImageEncoder`."""
        values = torch.stack(list(prepared)).to(self._device)
        if hasattr(self._model, "get_image_features"):  # CLIP, SigLIP: in the space of their texts
            found = self._model.get_image_features(pixel_values=values)
            found = getattr(found, "pooler_output", found)
        else:
            output = self._model(pixel_values=values)
            found = getattr(output, "pooler_output", None)
            if found is None:
                found = output.last_hidden_state.mean(dim=1)
        return found.flatten(1).float().cpu()

    def save(self, folder: Path) -> None:
        """See `ImageEncoder`; the processor's defaults become values that stay."""
        self._model.save_pretrained(folder)
        self._processor.save_pretrained(folder)


def _without_random_weights(model: Any, missing: set[str], folder: Path) -> Any:
    """Return the model without the pooler that its folder has no weights for, as many have none.

    transformers would give it random ones, other ones whenever it is loaded.

    Raises:
        ValueError: other weights are missing.
    """
    if others := sorted(name for name in missing if not name.startswith("pooler.")):
        raise ValueError(
            f"{folder} must hold all weights of a {type(model).__name__}, and {others[0]!r} is "
            f"missing with {len(others) - 1} more; choose a model that AutoModel loads whole"
        )
    if missing:
        model.pooler = None
    return model


def _model_type(folder: Path) -> str:
    return str(json.loads((folder / "config.json").read_text()).get("model_type", ""))

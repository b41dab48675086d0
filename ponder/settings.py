"""Where things are and which model is used: all that differs between deployments."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalog.images.addresses import Network, parse_networks
from embedder.content import Policy
from ponder.finetuning.promotion import PromotionConfig
from ponder.registry import REGISTRY, Registry


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """One deployment. Without any setting, everything is embedded and lies in `./.ponder`."""

    home: Path = Path(".ponder")
    """Folder of whatever is not given an address of its own."""

    lake: str = ""
    """Folder or s3:// address of the lake; empty: `lake` in the home."""

    lake_options: Mapping[str, str] = field(default_factory=dict)
    """Storage options of an object store: keys, endpoint, region."""

    milvus: str = ""
    """Milvus address, e.g. http://milvus:19530; empty: Milvus Lite in `milvus.db` in the home."""

    milvus_token: str = ""
    """`user:password` or an API key of the Milvus server."""

    kafka: str = ""
    """Brokers, e.g. kafka:9092; empty: there is no Kafka, items come from folders."""

    kafka_security: Mapping[str, Any] = field(default_factory=dict)
    """Passed through to kafka-python: security_protocol, sasl_mechanism, ssl_cafile..."""

    media_allow: tuple[Network, ...] = ()
    """Networks that images may be fetched from although they are not of the public internet."""

    media_buckets: tuple[str, ...] = ()
    """Buckets that images may be fetched from, with the keys of `lake_options`."""

    data: str = ""
    """Folder that the nightly DAG lands when there is no Kafka."""

    model: str = "nano"
    """Embedder: `nano`, a folder, or a hub id such as Qwen/Qwen3-VL-4B-Instruct; with `st:` before
    a folder or hub id, any sentence-transformers model; `registry:` and a fine-tuned version's
    name, or `registry:champion`, which follows the champion."""

    device: str = "cpu"
    """Torch device of the embedder: cpu, cuda, cuda:1..."""

    policy: Policy = "auto"
    """Whether the embedder reasons: `auto` (the gate decides), `always` or `never`."""

    reasoner: str = "self"
    """Who writes the rationales: `self`, the embedder; `model:` and a folder or hub id, a local
    Qwen-VL model; `openai:` and a model's name, the endpoint at `reasoner_url`."""

    reasoner_url: str = ""
    """Base URL of an OpenAI-compatible endpoint, e.g. http://vllm:8000/v1."""

    reasoner_key: str = field(default="", repr=False)
    """API key of the endpoint."""

    reasoner_max_tokens: int = 512
    """A reasoner other than the embedder may generate so many tokens an input."""

    reasoner_timeout_s: float = 60.0
    """One request to the endpoint may take so long."""

    reasoner_concurrency: int = 8
    """Requests to the endpoint at a time."""

    shard_size: int = 512
    """Items that one embedding task takes."""

    promotion: PromotionConfig = field(default_factory=PromotionConfig)
    """What a fine-tuned version must reach to become the champion."""

    def __post_init__(self) -> None:
        if self.policy not in ("auto", "always", "never"):
            raise ValueError(f"policy must be auto, always or never, got {self.policy!r}")
        if self.shard_size < 1:
            raise ValueError(f"shard_size must be at least 1, got {self.shard_size}")
        kind = self.reasoner.partition(":")[0]
        if kind not in ("self", "model", "openai") or (kind == "self") != (self.reasoner == "self"):
            raise ValueError(
                "reasoner must be self, model:FOLDER_OR_HUB_ID or openai:MODEL, "
                f"got {self.reasoner!r}"
            )
        if kind == "openai" and not self.reasoner_url:
            raise ValueError("reasoner_url must be set with an openai: reasoner, got none")
        if self.model.startswith("st:") and kind != "self":
            raise ValueError(
                f"a sentence-transformers model reads no rationales, got reasoner {self.reasoner!r}"
                f" with model {self.model!r}"
            )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Settings from `PONDER_*` variables; an unset or empty one leaves the default.

        `PONDER_LAKE_OPTIONS`, `PONDER_KAFKA_SECURITY` and `PONDER_PROMOTION` are JSON objects,
        `PONDER_MEDIA_ALLOW` and `PONDER_MEDIA_BUCKETS` are separated by commas.

        Raises:
            ValueError: a value cannot be read; the text names the variable.
        """
        readers: dict[str, Callable[[str], Any]] = {
            "home": Path,
            "lake_options": json.loads,
            "kafka_security": json.loads,
            "media_allow": parse_networks,
            "media_buckets": _parse_names,
            "shard_size": int,
            "reasoner_max_tokens": int,
            "reasoner_timeout_s": float,
            "reasoner_concurrency": int,
            "promotion": _parse_promotion,
        }
        values: dict[str, Any] = {}
        for name in cls.__dataclass_fields__:
            variable = f"PONDER_{name.upper()}"
            if not environ.get(variable):
                continue
            try:
                values[name] = readers.get(name, str)(environ[variable])
            except ValueError as error:
                raise ValueError(f"{variable} cannot be read: {error}") from error
        return cls(**values)

    @property
    def features_folder(self) -> Path:
        """Where match features are exported to."""
        return self.home / "features"

    @property
    def ranker_folder(self) -> Path:
        """Where the trained ranker is kept."""
        return self.home / "ranker"

    @property
    def reports_folder(self) -> Path:
        """Where evaluations and the HTML report are written."""
        return self.home / "reports"

    @property
    def registry(self) -> Registry:
        """The fine-tuned versions."""
        return Registry(self.home / "models")

    @property
    def finetune_base(self) -> str:
        """What a fine-tune starts from unless told otherwise."""
        champion = self.registry.champion()
        return self.model if champion is None else f"{REGISTRY}{champion}"

    @property
    def lake_uri(self) -> str:
        """Where the lake is."""
        return self.lake or str(self.home / "lake")

    @property
    def milvus_uri(self) -> str:
        """Where the index is."""
        return self.milvus or str(self.home / "milvus.db")


def _parse_names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _parse_promotion(text: str) -> PromotionConfig:
    values = json.loads(text)
    unknown = sorted(set(values) - set(PromotionConfig.__dataclass_fields__))
    if unknown:
        known = ", ".join(PromotionConfig.__dataclass_fields__)
        raise ValueError(f"thresholds are {known}, got {', '.join(unknown)}")
    return PromotionConfig(**values)

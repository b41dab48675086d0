"""Open the configured embedder and its reasoner, or tell their version without opening them.

Heavy packages are imported when they are first needed.
"""

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from catalog.lake.lake import Lake
from ponder.gate_measurements import theta_for
from ponder.rationales import LakeRationales
from ponder.registry import REGISTRY
from ponder.settings import Settings
from ponder.wiring.artifacts import follow
from ponder.wiring.stores import revealed

if TYPE_CHECKING:
    from embedder.content import CatalogueEncoder, Policy, Side
    from embedder.mmemb_r1 import EmbedderConfig
    from embedder.precision import Dtype
    from embedder.reasoners.config import EndpointConfig, LocalConfig
    from embedder.reasoners.encoder import ReasonedEncoder
    from embedder.reasoners.reasoner import Reasoner
    from embedder.version import Manifest


def open_encoder(settings: Settings, *, num_processes: int = 1) -> "CatalogueEncoder":
    """Open the configured embedder, with its reasoner; loaded once in a process.

    Args:
        settings: of the deployment.
        num_processes: that embed on this machine.

    Raises:
        ValueError: there is a reasoner, and the embedder reads no rationales.
    """
    from embedder.mmemb_r1 import EmbedderConfig

    config = EmbedderConfig(
        model=registered_model(settings),
        device=settings.device,
        dtype=settings.dtype,
        policy=settings.policy,
        query_theta=budgeted_theta(settings, "query"),
        item_theta=budgeted_theta(settings, "item"),
        num_processes=num_processes,
    )
    reasoner = other_reasoner(settings)
    if reasoner is None:
        return _load_encoder(config)
    if not reasons(settings):
        raise ValueError(
            f"the model {settings.model!r} reads no rationales, got reasoner "
            f"{settings.reasoner!r}; unset PONDER_REASONER"
        )
    options = tuple(sorted(revealed(settings.lake_options).items()))
    return _load_reasoned_encoder(config, reasoner, settings.lake_uri, options)


def open_model(config: "EmbedderConfig") -> "CatalogueEncoder":
    """Open a model of any kind, which is its own reasoner.

    Args:
        config: of one that never reasons, model and device count.
    """
    from embedder.identity import SENTENCE, kind_of

    match kind_of(config.model):
        case "sentence":
            from embedder.sentence.encoder import SentenceEncoder

            name = config.model.removeprefix(SENTENCE)
            return SentenceEncoder.open(name, device=config.device, dtype=config.dtype)
        case "pair":
            from embedder.pair.encoder import PairEncoder

            return PairEncoder.open(Path(config.model), device=config.device)
        case "reasoning":
            from embedder.mmemb_r1 import MMEmbR1

            return MMEmbR1.open(config)


_load_encoder = functools.lru_cache(maxsize=2)(open_model)


def registered_model(settings: Settings) -> str:
    """Return the configured model as `embedder` calls it: of a registered one the folder.

    Raises:
        LookupError: as of `ponder.registry.Versions.path`.
    """
    if settings.model.startswith(REGISTRY):
        follow(settings, "models")
    return settings.registry.model(settings.model)


@functools.lru_cache(maxsize=2)
def _load_reasoned_encoder(
    config: "EmbedderConfig",
    reasoner: "EndpointConfig | LocalConfig",
    lake_uri: str,
    lake_options: tuple[tuple[str, str], ...],
) -> "ReasonedEncoder":
    from embedder.model.checkpoint import load
    from embedder.reasoners.cache import CachedReasoner, MemoryStore
    from embedder.reasoners.encoder import ReasonedEncoder

    writer = _open_reasoner(reasoner)
    kept = LakeRationales(
        Lake(lake_uri, storage_options=dict(lake_options)),
        reasoner=writer.name,
        prompt_version=writer.prompt_version,
    )
    cached = CachedReasoner(writer, queries=MemoryStore(), items=kept)
    checkpoint = load(config.model, device=config.device, dtype=config.dtype)
    return ReasonedEncoder(checkpoint, config, cached)


def _open_reasoner(config: "EndpointConfig | LocalConfig") -> "Reasoner":
    from embedder.reasoners.config import LocalConfig

    if isinstance(config, LocalConfig):
        from embedder.reasoners.local import LocalReasoner

        return LocalReasoner.open(config)
    from embedder.reasoners.endpoint import EndpointReasoner

    return EndpointReasoner(config)


def other_reasoner(settings: Settings) -> "EndpointConfig | LocalConfig | None":
    """Return the configured reasoner; None when it is the embedder itself."""
    from embedder.reasoners.config import EndpointConfig, LocalConfig

    kind, _, model = settings.reasoner.partition(":")
    if kind == "openai":
        return EndpointConfig(
            base_url=settings.reasoner_url,
            model=model,
            key=settings.reasoner_key.get_secret_value(),
            max_tokens=settings.reasoner_max_tokens,
            timeout_s=settings.reasoner_timeout_s,
            concurrency=settings.reasoner_concurrency,
        )
    if kind == "model":
        return LocalConfig(
            model=model,
            device=settings.device,
            dtype=settings.dtype,
            max_tokens=settings.reasoner_max_tokens,
        )
    return None


def configured_version(settings: Settings) -> str:
    """Return the id of the configured embedder and its reasoner, without loading them."""
    from embedder.identity import model_version
    from embedder.precision import dtype_on
    from embedder.reasoners.reasoner import reasoned_version

    is_registered = settings.model.startswith(REGISTRY)
    version_of = _unchanging_version if is_registered else model_version
    version = version_of(
        registered_model(settings),
        settings.policy,
        item_theta=budgeted_theta(settings, "item"),
        dtype=dtype_on(settings.device, settings.dtype),
    )
    reasoner = other_reasoner(settings)
    if reasoner is None:
        return version
    return reasoned_version(version, reasoner=reasoner.name, prompt_version=reasoner.prompt_version)


@functools.lru_cache
def _unchanging_version(
    folder: str, policy: "Policy", *, item_theta: float | None, dtype: "Dtype"
) -> str:
    """Id of a registered version, hashed once: no file of it ever changes."""
    from embedder.identity import model_version

    return model_version(folder, policy, item_theta=item_theta, dtype=dtype)


def budgeted_theta(settings: Settings, side: "Side") -> float | None:
    """Return the theta that the deployment's budget for a side gives; None where it has none.

    Raises:
        LookupError: the configured model's gate has not been measured here.
    """
    budget = settings.query_budget if side == "query" else settings.item_budget
    if not budget or settings.policy != "auto" or not reasons(settings):
        return None
    follow(settings, "gates")
    return theta_for(settings.gates_folder, gated_version(settings), side, budget)


def reasons(settings: Settings) -> bool:
    """Return whether the configured model is one that may reason."""
    from embedder.identity import kind_of

    return kind_of(registered_model(settings)) == "reasoning"


def gated_version(settings: Settings) -> str:
    """Return the name under which it is kept what the configured model's gate said."""
    return configured_version(settings.replace(policy="auto", query_budget="", item_budget=""))


def configured_manifest(settings: Settings) -> "Manifest":
    """Return how the configured embedder is used; one that never reasons has a theta of 1."""
    from embedder.identity import model_manifest

    return model_manifest(registered_model(settings))


def configured_reasoner(settings: Settings) -> tuple[str, str]:
    """Return the name and prompt version under which the embedder's rationales are kept."""
    from embedder.prompting.template import TEMPLATE_VERSION

    reasoner = other_reasoner(settings)
    if reasoner is None:
        return configured_version(settings), str(TEMPLATE_VERSION)
    return reasoner.name, reasoner.prompt_version

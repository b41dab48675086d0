"""Workers by configuration: local models, each loaded once whatever its seeds, and endpoints."""

from collections.abc import Sequence
from dataclasses import replace

from embedder.model.checkpoint import Checkpoint, load
from embedder.reasoners.config import EndpointConfig, LocalConfig
from embedder.reasoners.endpoint import EndpointReasoner
from embedder.reasoners.local import LocalReasoner
from embedder.reasoners.reasoner import Reasoner

WorkerConfig = LocalConfig | EndpointConfig
"""The model that is trained is a `LocalConfig` too, with its own folder as `model`."""


def open_workers(configs: Sequence[WorkerConfig]) -> list[Reasoner]:
    """Open a worker for each configuration, in order; endpoints are not connected to yet.

    Endpoints are asked about queries as patiently as about items: nobody waits.
    """
    loaded: dict[tuple[str, str, str], Checkpoint] = {}
    workers: list[Reasoner] = []
    for config in configs:
        if isinstance(config, EndpointConfig):
            workers.append(EndpointReasoner(replace(config, repeat_queries=True)))
            continue
        place = (config.model, config.device, config.dtype)
        if place not in loaded:
            loaded[place] = load(config.model, device=config.device, dtype=config.dtype)
        workers.append(LocalReasoner(loaded[place], config))
    return workers

"""Tests for workers.py: three kinds of workers, told apart by name or seed."""

from embedder.content import Content
from embedder.finetune.rationales.workers import open_workers
from embedder.reasoners.config import EndpointConfig, LocalConfig
from embedder.reasoners.endpoint import EndpointReasoner
from embedder.reasoners.reasoner import Rationale


def test_a_model_is_loaded_once_and_draws_by_its_seed(folder):
    configs = [
        LocalConfig(model=str(folder), max_tokens=8, temperature=1.0, seed=1),
        LocalConfig(model=str(folder), max_tokens=8, temperature=1.0, seed=2),
        EndpointConfig(base_url="http://localhost:1/v1", model="decoder"),
    ]
    one, two, endpoint = open_workers(configs)
    assert one._checkpoint is two._checkpoint
    assert one.name == two.name
    assert len({worker.prompt_version for worker in (one, two, endpoint)}) == 3
    assert isinstance(endpoint, EndpointReasoner)
    assert endpoint._config.repeat_queries
    (written,) = one.reason([Content("three red mugs")], "query")
    assert isinstance(written, Rationale)
    assert [written] != two.reason([Content("three red mugs")], "query")

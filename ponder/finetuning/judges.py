"""Opens the judge that a recipe names."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from embedder.finetune.rationales.config import JudgingConfig
from ponder.settings import Settings
from ponder.wiring.encoder import other_reasoner

if TYPE_CHECKING:
    from embedder.finetune.rationales.judges.judge import Judge
    from embedder.reasoners.config import EndpointConfig
    from ponder.finetuning.run import Run


def endpoint_of(settings: Settings, judging: JudgingConfig) -> "EndpointConfig":
    """Return the endpoint that judges: the deployment's, with the model that the recipe names.

    Raises:
        ValueError: the deployment has none.
    """
    from embedder.reasoners.config import EndpointConfig

    endpoint = other_reasoner(settings)
    if not isinstance(endpoint, EndpointConfig):
        raise ValueError(
            f"judge {judging.judge!r} needs an endpoint; set PONDER_REASONER to openai:MODEL and "
            "PONDER_REASONER_URL"
        )
    return replace(endpoint, model=judging.model or endpoint.model)


def open_judge(run: "Run") -> "Callable[[str], Judge]":
    """Return a function that gives the judge for the pairs of a source.

    The base judges as it reads the source; a model or an endpoint judges all of them alike.

    Raises:
        ValueError: an endpoint is to judge and the deployment has none.
    """
    from embedder.finetune.rationales.judges.endpoint import EndpointJudge
    from embedder.finetune.rationales.judges.self_judge import SelfJudge, SelfJudgeConfig
    from embedder.finetune.rationales.judges.yes_no import YesNoConfig, YesNoJudge

    config = run.config.judging
    if config.kind == "self":
        base = run.load(run.base)
        return lambda source: SelfJudge(
            replace(base, manifest=base.manifest.for_source(source)),
            SelfJudgeConfig(temperature=config.temperature),
        )
    judge: Judge
    if config.kind == "yes_no":
        judge = YesNoJudge(run.load(config.model), YesNoConfig())
        return lambda source: judge
    judge = EndpointJudge(endpoint_of(run.settings, config))
    return lambda source: judge

"""Opens the judge that a recipe names."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ponder.wiring.encoder import other_reasoner

if TYPE_CHECKING:
    from embedder.finetune.rationales.judges.judge import Judge
    from ponder.finetuning.run import Run


def open_judge(run: "Run") -> "Callable[[str], Judge]":
    """Return a function that gives the judge for the pairs of a source.

    The base judges as it reads the source; a model or an endpoint judges all of them alike.

    Raises:
        ValueError: an endpoint is to judge and the deployment has none.
    """
    from embedder.finetune.rationales.judges.endpoint import EndpointJudge
    from embedder.finetune.rationales.judges.self_judge import SelfJudge, SelfJudgeConfig
    from embedder.finetune.rationales.judges.yes_no import YesNoConfig, YesNoJudge
    from embedder.reasoners.config import EndpointConfig

    config = run.config.judging
    kind, _, model = config.judge.partition(":")
    if kind == "self":
        base = run.load(run.base)
        return lambda source: SelfJudge(
            replace(base, manifest=base.manifest.for_source(source)),
            SelfJudgeConfig(temperature=config.temperature),
        )
    judge: Judge
    if kind == "yes_no":
        judge = YesNoJudge(run.load(model), YesNoConfig())
        return lambda source: judge
    endpoint = other_reasoner(run.settings)
    if not isinstance(endpoint, EndpointConfig):
        raise ValueError(
            f"judge {config.judge!r} needs an endpoint; set PONDER_REASONER to openai:MODEL and "
            "PONDER_REASONER_URL"
        )
    judge = EndpointJudge(replace(endpoint, model=model or endpoint.model))
    return lambda source: judge

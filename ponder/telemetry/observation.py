"""What a step tells while it runs and when it has ended: log, metrics and spans, from one place.

The command line and the DAGs call the same steps, so both tell the same. A step that is called by
another one tells for itself.
"""

import functools
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

from ponder.settings import Settings
from ponder.telemetry.deployment_metrics import deployment_metrics
from ponder.telemetry.identity import identified, identify
from ponder.telemetry.json_lines import COUNTS
from ponder.telemetry.outlets import Outlets
from ponder.telemetry.step_metrics import DONE, FAILED, SKIPPED, StepMetrics
from ponder.telemetry.tracing import send_spans, span, trace_id, trace_to
from ponder.wiring.stores import open_lake

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

Step = Callable[Concatenate[Settings, P], R]

MAX_CHARS = 80
"""Of a text in a step's line; longer ones are left out."""


def observed(
    step: str,
    *,
    count: Callable[[StepMetrics, Any], None] = lambda metrics, result: None,
    skips: tuple[type[Exception], ...] = (),
) -> Callable[[Step[P, R]], Step[P, R]]:
    """Make a function of settings tell how it went.

    Args:
        step: its name in logs, metrics and spans.
        count: tells metrics what it returned.
        skips: errors by which it says that there was nothing to do.
    """

    def wrap(function: Step[P, R]) -> Step[P, R]:
        @functools.wraps(function)
        def told(settings: Settings, /, *args: P.args, **options: P.kwargs) -> R:
            with observe(settings, step, skips=skips) as seen:
                result = function(settings, *args, **options)
                count(seen.metrics, result)
                seen.result = result
            return result

        return told

    return wrap


class Observation:
    """A step under way."""

    def __init__(self, step: str) -> None:
        self.metrics = StepMetrics(step)
        """What it counts."""

        self.result: Any = None
        """What came of it; its numbers are logged."""


@contextmanager
def observe(
    settings: Settings, step: str, *, skips: tuple[type[Exception], ...] = ()
) -> Iterator[Observation]:
    """Tell how a block goes as a step.

    Args:
        settings: where it is told.
        step: its name.
        skips: as of `observed`.
    """
    trace_to(settings.trace_endpoint)
    seen, started, outcome = Observation(step), time.monotonic(), FAILED
    with identified(step=step):
        try:
            with span(step):
                if (trace := trace_id()) is not None:
                    identify(trace=trace)
                logger.info("%s began", step)
                yield seen
            outcome = DONE
        except skips:
            outcome = SKIPPED
            raise
        finally:
            seconds = time.monotonic() - started
            _log(step, outcome, seconds, seen.result)
            seen.metrics.end(outcome, seconds=seconds)
            _publish(settings, step, seen.metrics)
            send_spans()


def _log(step: str, outcome: str, seconds: float, result: Any) -> None:
    counts = _numbers(result) | {"elapsed_s": round(seconds, 3)}
    told = " ".join(f"{name}={value}" for name, value in counts.items())
    logger.info("%s %s: %s", step, outcome, told, extra={COUNTS: counts | {"outcome": outcome}})


def _numbers(result: Any) -> dict[str, Any]:
    """Return the numbers and short texts of a result, and its rates, which may be properties."""
    if not is_dataclass(result):
        return {}
    rates = [name for name in dir(type(result)) if name.endswith("_per_s")]
    told = {name: getattr(result, name) for name in [each.name for each in fields(result)] + rates}
    return {
        name: round(value, 6) if isinstance(value, float) else value
        for name, value in told.items()
        if isinstance(value, int | float) or (isinstance(value, str) and len(value) <= MAX_CHARS)
    }


def _publish(settings: Settings, step: str, metrics: StepMetrics) -> None:
    outlets = Outlets.of(settings)
    if not outlets:
        return
    outlets.publish(step, metrics.registry, adds_up=True)
    try:
        standing = deployment_metrics(open_lake(settings), settings.home)
    except Exception as error:  # a lake that is away has failed the step already
        logger.warning("how the deployment stands was not published: %s", error)
    else:
        outlets.publish("deployment", standing, adds_up=False)

"""Spans of steps and of the service's requests, sent by OpenTelemetry where that is wanted.

Without `trace_endpoint` nothing of OpenTelemetry is imported. All spans of one run of a DAG, whose
tasks are processes of their own, are in one trace; where Airflow itself traces, they are in its.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from ponder.telemetry.identity import current_ids

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

EXPORT_TIMEOUT_S = 5.0
"""A collector that does not answer holds up the end of a step no longer than that."""

TRACE_PARENT = "TRACEPARENT"
"""Variable by which whoever starts a process names the span that it belongs to (W3C)."""

_endpoint = ""


def trace_to(endpoint: str) -> None:
    """Send the spans of this process to a collector from now on; empty: to none.

    Raises:
        ValueError: OpenTelemetry is not installed.
    """
    global _endpoint
    if endpoint:
        _provider(endpoint)
    _endpoint = endpoint


@contextmanager
def span(name: str, **attributes: str | float) -> Iterator[None]:
    """Tell of the block as a span; an error that leaves it is told with it."""
    if not _endpoint:
        yield
        return
    with _tracer().start_as_current_span(
        name, context=_parent(), attributes=_told(attributes)
    ) as current:
        try:
            yield
        finally:  # what the block noted as well
            current.set_attributes(_told(current_ids() | attributes))


def trace_id() -> str | None:
    """Return the trace that the surrounding span belongs to, in hexadecimal; None without one."""
    if not _endpoint:
        return None
    from opentelemetry.trace import format_trace_id, get_current_span

    context = get_current_span().get_span_context()
    return format_trace_id(context.trace_id) if context.is_valid else None


def send_spans() -> None:
    """Send the spans that have ended: a task's process is gone as soon as its step is done."""
    if _endpoint:
        _provider(_endpoint).force_flush(int(1_000 * EXPORT_TIMEOUT_S))


def run_trace_id(ids: dict[str, str]) -> int:
    """Return the number of the trace of a run, the same in each of its processes."""
    told = f"{ids.get('dag', '')} {ids['run']}".encode()
    return int.from_bytes(hashlib.sha256(told).digest()[:16]) or 1


class TracedRequests:
    """ASGI middleware: a span for each request, below the one that its `traceparent` names."""

    def __init__(self, app: "ASGIApp") -> None:
        self._app = app

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Pass the request on, and tell of it."""
        if scope["type"] != "http" or not _endpoint:
            await self._app(scope, receive, send)
            return
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind, Status, StatusCode

        carrier = {
            name.decode("latin-1"): text.decode("latin-1") for name, text in scope["headers"]
        }
        with _request_tracer().start_as_current_span(
            scope["method"], context=extract(carrier), kind=SpanKind.SERVER
        ) as current:

            async def noted(message: "Message") -> None:
                if message["type"] == "http.response.start":
                    status = message["status"]
                    current.set_attribute("http.response.status_code", status)
                    if status >= 500:
                        current.set_status(Status(StatusCode.ERROR))
                await send(message)

            try:
                await self._app(scope, receive, noted)
            finally:
                _name(current, scope)


def _name(current: "Span", scope: "Scope") -> None:
    """Name a request's span by its route, which is known only when it was found."""
    current.set_attribute("http.request.method", scope["method"])
    if (route := getattr(scope.get("route"), "path", None)) is not None:
        current.update_name(f"{scope['method']} {route}")
        current.set_attribute("http.route", route)


def _parent() -> "Context | None":
    """Return what a span belongs to; None: the current span, or where there is none, nothing."""
    from opentelemetry.propagate import extract
    from opentelemetry.trace import get_current_span

    if get_current_span().get_span_context().is_valid or TRACE_PARENT not in os.environ:
        return None
    return extract({"traceparent": os.environ[TRACE_PARENT]})


def _tracer() -> "Tracer":
    return _provider(_endpoint).get_tracer("ponder")


def _request_tracer() -> "Tracer":
    return _provider(_endpoint, of_runs=False).get_tracer("ponder.serving")


def _told(attributes: dict[str, Any]) -> dict[str, Any]:
    return {f"ponder.{name}": value for name, value in attributes.items()}


@lru_cache
def _provider(endpoint: str, *, of_runs: bool = True) -> "TracerProvider":
    """Return what sends spans; `of_runs`: a span without a parent is in the trace of its run."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
    except ImportError as error:
        raise ValueError(
            f"trace_endpoint must be empty where OpenTelemetry is not installed, got {endpoint!r}; "
            "install it with: pip install 'ponder[tracing]'"
        ) from error

    class RunIds(RandomIdGenerator):
        def generate_trace_id(self) -> int:
            return run_trace_id(current_ids())

    told = Resource.create({"service.name": "ponder", "service.version": version("ponder")})
    provider = TracerProvider(
        resource=told, id_generator=RunIds() if of_runs else RandomIdGenerator()
    )
    address = f"{endpoint.rstrip('/')}/v1/traces"
    exporter = OTLPSpanExporter(endpoint=address, timeout=EXPORT_TIMEOUT_S)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider

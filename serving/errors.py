"""What goes wrong while answering, and how HTTP tells of it: a status, a type and a sentence."""

import logging
from collections.abc import Callable
from typing import NamedTuple

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from recall.errors import IndexFailed, InvalidQuery, NotFound, Unavailable

logger = logging.getLogger(__name__)


class RankerMismatch(RuntimeError):
    """The ranker was trained on other features, or on vectors of another version than the live."""


class Answer(NamedTuple):
    """How an error is told."""

    status: int
    name: str


ANSWERS: dict[type[Exception], Answer] = {
    InvalidQuery: Answer(422, "invalid_query"),
    NotFound: Answer(404, "not_found"),
    RankerMismatch: Answer(409, "ranker_mismatch"),
    Unavailable: Answer(503, "unavailable"),
}


def add_error_handlers(app: FastAPI) -> None:
    """Make every error of the app a JSON answer that gives nothing away."""
    for kind, answer in ANSWERS.items():
        app.add_exception_handler(kind, _handler(answer))
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(IndexFailed, _index_failed)
    app.add_exception_handler(Exception, _unexpected)


def _handler(answer: Answer) -> Callable[[Request, Exception], Response]:
    def handle(request: Request, error: Exception) -> Response:
        return _error(answer.status, answer.name, str(error))

    return handle


def _invalid_request(request: Request, error: Exception) -> Response:
    # What was sent is not sent back: it may be an image of megabytes.
    fields = [
        {"field": ".".join(str(part) for part in e["loc"]), "message": e["msg"]}
        for e in error.errors()  # type: ignore[attr-defined]
    ]
    message = "; ".join(f"{f['field']}: {f['message']}" for f in fields)
    return _error(422, "invalid_request", message, fields=fields)


def _index_failed(request: Request, error: Exception) -> Response:
    logger.error("Milvus failed: %s", error)
    return _error(503, "unavailable", "the index cannot answer now; try again later")


def _unexpected(request: Request, error: Exception) -> Response:
    return _error(500, "internal", "something went wrong here; the log says what")


def _error(status: int, name: str, message: str, **details: object) -> JSONResponse:
    error = {"type": name, "message": message, **details}
    return JSONResponse({"error": error}, status_code=status)

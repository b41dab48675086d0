"""What goes wrong while answering, and how HTTP tells of it: a status, a type and a sentence."""

import logging
import math
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from recall.errors import Busy, IndexFailed, InvalidQuery, NotFound, OutOfTime, Unavailable
from serving.error_form import ErrorDetail, ErrorReply, WrongField

logger = logging.getLogger(__name__)

UNFORESEEN = "something went wrong here; the log says what"
INDEX_FAILED = "the index cannot answer now; try again later"
PLAIN_WORDS = {
    "timezone_aware": "a time must carry a time zone, such as 2026-01-31T08:00:00Z",
    "extra_forbidden": "there is no such field; /docs describes those there are",
}
"""What to say where pydantic's own sentence does not say what to do."""

MAX_FIELDS = 20
MAX_FIELD_CHARS = 100


class RankerMismatch(RuntimeError):
    """The ranker was trained on other features, or on vectors of another version than the live."""


class InvalidItem(ValueError):
    """An item that was put cannot be landed."""


class Answer(NamedTuple):
    """How an error is told."""

    status: int
    name: str


ANSWERS: dict[type[Exception], Answer] = {
    InvalidQuery: Answer(422, "invalid_query"),
    InvalidItem: Answer(422, "invalid_item"),
    NotFound: Answer(404, "not_found"),
    RankerMismatch: Answer(409, "ranker_mismatch"),
    Busy: Answer(429, "busy"),
    OutOfTime: Answer(504, "out_of_time"),
    Unavailable: Answer(503, "unavailable"),
    IndexFailed: Answer(503, "unavailable"),
}

QUERY_ERRORS = (401, 403, 408, 413, 415, 422, 429, 500, 503, 504)
"""Statuses that any request with a body may be answered with."""

READ_ERRORS = (401, 403, 422, 429, 500, 503)
"""Statuses that any request without a body may be answered with."""

MEANINGS = {
    401: "The service wants an API key, and there is none, or not one it knows.",
    403: "The API key does not allow this.",
    404: "There is no such item, version or address.",
    408: "The request was not there whole in time.",
    409: "The ranker fits other features, or another version than the live one.",
    413: "The request has too many bytes.",
    415: "The body is not announced as `content-type: application/json`.",
    422: "A field is wrong, or what it holds cannot be read.",
    429: "Too many requests wait; `retry-after` says when to come again.",
    500: "A fault of the service.",
    503: "There is no index, version, encoder or ranker to answer with now.",
    504: "It could not be answered within the deadline.",
}

HTTP_NAMES = {408: "timeout", 413: "too_large", 503: "unavailable"}
"""Types of errors by status, where the type is not the status's own name."""


def error_detail(error: Exception) -> ErrorDetail | None:
    """Return how an error of one query among several is told; None for one that is a fault."""
    if isinstance(error, ValidationError | RequestValidationError):
        return _invalid_detail(error)
    if isinstance(error, IndexFailed):
        return ErrorDetail(type="unavailable", message=INDEX_FAILED)
    for kind, answer in ANSWERS.items():
        if isinstance(error, kind):
            return ErrorDetail(type=answer.name, message=_shown(str(error)))
    return None


def error_replies(*statuses: int) -> dict[int | str, dict[str, object]]:
    """Return the OpenAPI entry of answers with these statuses."""
    return {status: {"model": ErrorReply, "description": MEANINGS[status]} for status in statuses}


def error_response(
    status: int,
    name: str,
    message: str,
    *,
    headers: Mapping[str, str] | None = None,
    **details: object,
) -> JSONResponse:
    """Return an error in the one form that all have."""
    error = {"type": name, "message": message, **details}
    return JSONResponse({"error": error}, status_code=status, headers=headers)


def add_error_handlers(app: FastAPI) -> None:
    """Make every error of the app a JSON answer that gives nothing away."""
    for kind, answer in ANSWERS.items():
        app.add_exception_handler(kind, _handler(answer))
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(IndexFailed, _index_failed)
    app.add_exception_handler(Exception, _unexpected)


def _handler(answer: Answer) -> Callable[[Request, Exception], Response]:
    def handle(request: Request, error: Exception) -> Response:
        headers = {}
        if isinstance(error, Busy):
            headers["retry-after"] = str(max(1, math.ceil(error.retry_after_s)))
        return error_response(answer.status, answer.name, _shown(str(error)), headers=headers)

    return handle


def _invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    if request.method in ("POST", "PUT") and not _is_json(request):
        got = request.headers.get("content-type", "none")
        message = (
            "a body must be announced by the header `content-type: application/json`, "
            f"got {_shown(got)[:MAX_FIELD_CHARS]}"
        )
        return error_response(415, "unsupported_media_type", message)
    detail = _invalid_detail(error)
    fields = [field.model_dump() for field in detail.fields]
    return error_response(422, detail.type, detail.message, fields=fields)


def _is_json(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and "+json" in kind)


def _invalid_detail(error: ValidationError | RequestValidationError) -> ErrorDetail:
    # What was sent is not sent back: it may be an image of megabytes, or ten thousand wrong ids.
    wrong = [_in_plain_words(each) for each in error.errors()]
    fields = [
        WrongField(
            field=_shown(".".join(str(part) for part in e["loc"]))[:MAX_FIELD_CHARS],
            message=_shown(PLAIN_WORDS.get(e["type"], e["msg"]).removeprefix("Value error, ")),
        )
        for e in wrong[:MAX_FIELDS]
    ]
    message = "; ".join(": ".join(filter(None, (one.field, one.message))) for one in fields)
    if len(wrong) > MAX_FIELDS:
        message += f"; and {len(wrong) - MAX_FIELDS} more"
    return ErrorDetail(type="invalid_request", message=message, fields=fields)


def _in_plain_words(wrong: Mapping[str, Any]) -> Mapping[str, Any]:
    """Say where a body ceases to be JSON: it is told as a field of that number."""
    if wrong["type"] != "json_invalid":
        return wrong
    where, why = wrong["loc"][-1], wrong.get("ctx", {}).get("error", wrong["msg"])
    return {
        **wrong,
        "loc": wrong["loc"][:1],
        "msg": f"must be JSON, which ends at character {where}: {why}",
    }


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 400:  # FastAPI's word for a body that its JSON reader gives up on
        return error_response(422, "invalid_request", "the body must be JSON that can be read")
    status = HTTPStatus(error.status_code)
    name = HTTP_NAMES.get(status) or status.phrase.lower().replace(" ", "_").replace("-", "_")
    message = f"{status.phrase}: {request.method} {_shown(request.url.path)[:MAX_FIELD_CHARS]}"
    if status in (404, 405):
        message += "; /docs lists the addresses and their methods"
    return error_response(status, name, message, headers=error.headers)


def _index_failed(request: Request, error: Exception) -> Response:
    logger.error("Milvus failed: %s", error)
    return error_response(503, "unavailable", INDEX_FAILED)


def _unexpected(request: Request, error: Exception) -> Response:
    return error_response(500, "internal", UNFORESEEN)


def _shown(text: str) -> str:
    """Return text that UTF-8 can write: half a surrogate pair is told by its number."""
    return text.encode("utf-8", "backslashreplace").decode()

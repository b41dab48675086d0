"""The one form in which every error is told; free of the web framework, for the client reads it."""

from pydantic import BaseModel, ConfigDict


class WrongField(BaseModel):
    """A field that was refused."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    field: str
    """Where it stands, e.g. `body.filter.category_in`."""

    message: str
    """What it must be."""


class ErrorDetail(BaseModel):
    """What went wrong."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    type: str
    """For programs: one of the types listed in docs/serving.md."""

    message: str
    """For people: what must hold, and what was got."""

    fields: list[WrongField] = []
    """The first fields that were refused; only with `invalid_request`."""


class ErrorReply(BaseModel):
    """The one form of every error, whatever the address and the status."""

    error: ErrorDetail

"""The reference of the service as one page, written from its OpenAPI, that loads nothing.

Swagger's page, which FastAPI would serve, comes from another network. This one is plain HTML and
has no script.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

Schema = Mapping[str, Any]

METHODS = ("get", "post", "put", "delete")
LIMITS = {
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {}",
    "maxItems": "at most {}",
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
}
STYLE = """
:root { color-scheme: light dark; --line: #8884; --quiet: light-dark(#555, #aaa); }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 1rem; }
h3 { margin-top: 2rem; overflow-wrap: anywhere; }
code, pre { font: 0.9em/1.5 ui-monospace, monospace; }
pre { background: #8881; padding: 0.7rem; border-radius: 6px; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; display: block; overflow-x: auto; }
th, td { text-align: left; vertical-align: top; padding: 0.3rem 0.8rem 0.3rem 0; }
td { border-top: 1px solid var(--line); }
.quiet { color: var(--quiet); }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


def add_reference(app: FastAPI) -> None:
    """Answer `/docs` with the page."""

    @app.get("/docs", include_in_schema=False)
    async def get_reference() -> HTMLResponse:
        return HTMLResponse(reference_page(app.openapi()), headers=HEADERS)


def reference_page(api: Schema) -> str:
    """Return the page that describes an OpenAPI document, as HTML."""
    operations = [
        (path, method, methods[method])
        for path, methods in sorted(api["paths"].items())
        for method in METHODS
        if method in methods
    ]
    schemas = api.get("components", {}).get("schemas", {})
    contents = "".join(
        f'<li><a href="#{_anchor(method, path)}"><code>{method.upper()} {escape(path)}</code></a> '
        f"{_first_sentence(operation)}</li>"
        for path, method, operation in operations
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width'>"
        f"<title>{escape(api['info']['title'])}: reference</title><style>{STYLE}</style>"
        f"<h1>{escape(api['info']['title'])}: reference</h1>"
        f"{_paragraphs(api['info'].get('description', ''))}"
        "<p>For programs: <a href=/openapi.json>openapi.json</a>.</p>"
        f"<ul>{contents}</ul><h2>Addresses</h2>"
        f"{''.join(_operation(*each) for each in operations)}<h2>Forms</h2>"
        f"{''.join(_form(name, schema) for name, schema in sorted(schemas.items()))}"
    )


def _operation(path: str, method: str, operation: Schema) -> str:
    parts = [
        f'<h3 id="{_anchor(method, path)}"><code>{method.upper()} {escape(path)}</code></h3>',
        _paragraphs(operation.get("description", "")),
    ]
    if parameters := operation.get("parameters"):
        rows = [(p["name"], p["schema"], p.get("required", False)) for p in parameters]
        parts.append(_table(rows))
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(f"<p>Body, <code>{escape(kind)}</code>: {_type(content['schema'])}</p>")
        parts += [_example(summary, value) for summary, value in _examples(content)]
        if "properties" in content["schema"]:
            parts.append(_properties(content["schema"]))
    replies = "".join(
        f"<tr><td><code>{status}</code><td>{_inline(reply['description'])}<td>{_reply(reply)}"
        for status, reply in operation["responses"].items()
    )
    parts.append(f"<table><tr><th>status<th>meaning<th>body{replies}</table>")
    for reply in operation["responses"].values():
        for content in reply.get("content", {}).values():
            parts += [_example(summary, value) for summary, value in _examples(content)]
    return "".join(parts)


def _examples(content: Schema) -> Iterable[tuple[str, Any]]:
    if "example" in content:
        yield "For example", content["example"]
    for example in content.get("examples", {}).values():
        yield example["summary"], example["value"]


def _example(summary: str, value: Any) -> str:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return f"<p class=quiet>{escape(summary)}:</p><pre>{escape(text)}</pre>"


def _reply(reply: Schema) -> str:
    kinds = reply.get("content", {})
    return ", ".join(
        _type(content["schema"]) if content.get("schema") else f"<code>{escape(kind)}</code>"
        for kind, content in kinds.items()
    )


def _form(name: str, schema: Schema) -> str:
    return (
        f'<h3 id="form-{escape(name)}">{escape(name)}</h3>'
        f"{_paragraphs(schema.get('description', ''))}{_properties(schema)}"
    )


def _properties(schema: Schema) -> str:
    required = schema.get("required", ())
    fields = schema.get("properties", {}).items()
    return _table([(name, field, name in required) for name, field in fields])


def _table(rows: Iterable[tuple[str, Schema, bool]]) -> str:
    cells = "".join(
        f"<tr><td><code>{escape(name)}</code><td>{_type(schema)}"
        f"<span class=quiet>{_limits(schema, is_required)}</span>"
        f"<td>{_inline(schema.get('description', ''))}"
        for name, schema, is_required in rows
    )
    return f"<table><tr><th>field<th>type<th>meaning{cells}</table>"


def _type(schema: Schema) -> str:
    """Return what a value may be, with links to the forms."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#form-{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(map(_type, schema["anyOf"])))
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return " or ".join(f"<code>{escape(json.dumps(value))}</code>" for value in values)
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return escape(str(schema.get("type", "anything")))


def _limits(schema: Schema, is_required: bool) -> str:
    """Return what else holds for a value: whether it must be there, its default, its range."""
    told = ["required"] if is_required else []
    if "default" in schema and schema["default"] not in (None, {}, []):
        told.append(f"default {json.dumps(schema['default'])}")
    for part in (schema, *schema.get("anyOf", ())):
        told += [words.format(part[name]) for name, words in LIMITS.items() if name in part]
    return escape("; ".join(["", *told]))


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{_inline(part)}</p>" for part in text.split("\n\n") if part.strip())


def _inline(text: str) -> str:
    """Return text as HTML; what stands between backquotes is code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))


def _first_sentence(operation: Schema) -> str:
    return _inline(operation.get("description", "").split("\n\n")[0])


def _anchor(method: str, path: str) -> str:
    return escape(re.sub(r"[^a-z0-9]+", "-", f"{method}{path}".lower()).strip("-"))

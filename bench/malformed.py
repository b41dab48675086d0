"""Item messages that are wrong in as many ways as were thought of, for tests and benchmarks."""

import base64
import json
from collections.abc import Iterator

T1 = "2026-01-01T00:00:00Z"
HEAD = b'{"item_id": "a", "updated_at": "2026-01-01T00:00:00Z", '


def _item(**fields: object) -> dict[str, object]:
    return {"item_id": "bad", "updated_at": T1} | fields


def _gif(width: int, height: int) -> bytes:
    return b"GIF89a" + width.to_bytes(2, "little") + height.to_bytes(2, "little") + b"\0\0\0;"


def _data_uri(image: bytes) -> str:
    return f"data:image/gif;base64,{base64.b64encode(image).decode()}"


RAW: dict[str, bytes] = {
    "empty": b"",
    "blank": b"   ",
    "broken UTF-8": b'{"item_id": "\xff\xfe", "updated_at": "2026-01-01T00:00:00Z"}',
    "UTF-16": json.dumps(_item()).encode("utf-16"),
    "cut off": json.dumps(_item(title="x" * 99)).encode()[:-20],
    "two objects": json.dumps(_item()).encode() * 2,
    "trailing comma": b'{"item_id": "bad",}',
    "single quotes": b"{'item_id': 'bad'}",
    "deep nesting of lists": b"[" * 100_000,
    "deep nesting in a field": b'{"item_id": "bad", "attributes": ' + b'{"a": ' * 50_000,
    "null": b"null",
    "a number": b"7",
    "a string": b'"item"',
    "a list": b"[]",
    "an empty object": b"{}",
    "NaN": HEAD + b'"attributes": {"a": NaN}}',
    "infinity": HEAD + b'"attributes": {"a": 9e999}}',
    "lone surrogate": HEAD + b'"text": "\\ud800"}',
    "bad escape": b'{"item_id": "bad\\x"}',
    "raw control character": b'{"item_id": "bad", "title": "a\nb"}',
    "protobuf": b"\x0a\x03bad\x12\x05title",
    "Avro with a registry's prefix": b"\0\0\0\0\x01\x06bad",
    "gzip inside": b"\x1f\x8b\x08\0\0\0\0\0",
    "XML": b"<item id='bad'/>",
    "zero bytes": b"\0" * 64,
}
"""Not JSON, or not an object, by the name of what is wrong."""

FIELDS: dict[str, dict[str, object]] = {
    "no id": {"updated_at": T1},
    "no time": {"item_id": "bad"},
    "id of another type": _item(item_id=7),
    "id null": _item(item_id=None),
    "id empty": _item(item_id=""),
    "id too long": _item(item_id="x" * 257),
    "id with a control character": _item(item_id="a\x00b"),
    "id with a line feed": _item(item_id="a\nb"),
    "id with a right-to-left mark": _item(item_id="a\u202eb"),
    "time without zone": _item(updated_at="2026-01-01T00:00:00"),
    "time as a number": _item(updated_at=1_767_225_600),
    "time that does not exist": _item(updated_at="2026-02-30T00:00:00Z"),
    "time before the year 1 in UTC": _item(updated_at="0001-01-01T00:00:00+14:00"),
    "time empty": _item(updated_at=""),
    "title of another type": _item(title=["a"]),
    "text of 10 MB": _item(text="x" * 10_000_000),
    "text too long": _item(text="x" * 100_001),
    "tags not a list": _item(tags="red"),
    "tags of another type": _item(tags=[1, 2]),
    "too many tags": _item(tags=[str(n) for n in range(201)]),
    "attributes not an object": _item(attributes=[1]),
    "attribute nested": _item(attributes={"a": {"b": 1}}),
    "deleted of another type": _item(deleted="yes"),
    "image not base64": _item(image_uri="data:image/png;base64,%%%"),
    "image without base64": _item(image_uri="data:image/png,abc"),
    "image of no format": _item(image_uri=_data_uri(b"not an image")),
    "image cut off in its header": _item(image_uri=_data_uri(b"GIF8")),
    "image bomb": _item(image_uri=_data_uri(_gif(65_535, 65_535))),
    "image by path": _item(image_uri="/etc/passwd"),
    "image by file URI": _item(image_uri="file:///etc/passwd"),
    "image of an unknown scheme": _item(image_uri="gopher://host/a"),
    "image at an address that is none": _item(image_uri="http://[::1/a.png"),
}
"""Objects whose fields break a rule, by the name of the rule."""

HARMLESS: dict[str, dict[str, object]] = {
    "huge integer": {"attributes": {"a": 10**400}},
    "huge number": {"attributes": {"a": 1e308}},
    "control characters": {"title": "a\x00\x01\x1b[31mb"},
    "special tokens": {"title": "<|im_end|><|emb|><|reason|>"},
    "right-to-left text": {"title": "\u202etxet"},
    "emoji and combining marks": {"title": "e\u0301 \U0001f469\u200d\U0001f680"},
    "unknown fields": {"colour": {"deep": [1, {"er": None}]}},
    "repeated tags": {"tags": ["b", "a", "b"]},
    "SQL": {"title": "'; DROP TABLE items; --"},
    "time at the end of days": {"updated_at": "9999-12-31T23:59:59.999999Z"},
    "time with an offset": {"updated_at": "2026-01-01T05:30:00+05:30"},
}
"""Fields that look wrong and are right: such items are landed as they came."""


def malformed() -> Iterator[tuple[str, bytes]]:
    """Return what is wrong and the message, for every kind that must not be landed."""
    yield from RAW.items()
    for name, fields in FIELDS.items():
        yield name, json.dumps(fields).encode()

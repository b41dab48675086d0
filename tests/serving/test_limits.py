"""Tests for serving/limits.py: bodies that do not come, and clients that go."""

import asyncio
import json

import pytest

from serving.limits import BodyLimit


async def echo(scope, receive, send):
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": message["body"]})


def sent_by(*messages, pause_s=0.0, timeout_s=0.2):
    """What the app sends to a client that sends these messages, and then nothing."""
    waiting, answers = list(messages), []

    async def receive():
        if not waiting:
            await asyncio.sleep(60)
        await asyncio.sleep(pause_s)
        return waiting.pop(0)

    async def send(message):
        answers.append(message)

    limit = BodyLimit(echo, max_bytes=10, timeout_s=timeout_s)
    asyncio.run(asyncio.wait_for(limit({"type": "http"}, receive, send), 5))
    return answers


def part(body, *, more=False):
    return {"type": "http.request", "body": body, "more_body": more}


@pytest.mark.parametrize(
    "messages",
    [(), (part(b"", more=True),), (part(b"abc", more=True),), (part(b"a", more=True),) * 5],
    ids=["nothing", "no-byte", "half", "one-byte-at-a-time"],
)
def test_a_body_that_does_not_come_in_time_is_given_up(messages):
    start, body = sent_by(*messages, pause_s=0.05)
    assert start["status"] == 408
    assert (b"connection", b"close") in start["headers"]
    assert json.loads(body["body"]) == {
        "error": {"type": "timeout", "message": "a request must be there whole within 0.2 s"}
    }


def test_a_client_that_hangs_up_within_its_body_is_not_answered():
    assert sent_by(part(b"abc", more=True), {"type": "http.disconnect"}) == []


def test_a_body_that_comes_in_parts_arrives_whole():
    _, body = sent_by(part(b"abc", more=True), part(b"", more=True), part(b"def"))
    assert body["body"] == b"abcdef"

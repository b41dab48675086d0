"""Tests for endpoint.py: odds from log-probabilities, and failures."""

import json
import math

import pytest

from embedder.content import Content
from embedder.finetune.rationales.judges.endpoint import NUM_TOP, EndpointJudge
from embedder.finetune.rationales.judges.judge import JudgeInput
from embedder.reasoners.config import EndpointConfig
from embedder.reasoners.reasoner import Rationale, ReasonerOutage

CASE = JudgeInput(Content("red mugs"), Content("3 red mugs"), "query")


def completion(tops):
    top_logprobs = [{"token": token, "logprob": logprob} for token, logprob in tops]
    first = {"token": tops[0][0], "logprob": tops[0][1], "top_logprobs": top_logprobs}
    return 200, {}, json.dumps({"choices": [{"logprobs": {"content": [first]}}]}).encode()


def judge(server):
    config = EndpointConfig(base_url=server.url, model="big", max_attempts=1)
    return EndpointJudge(config, sleep=lambda _: None)


def odds(serve, tops):
    (z,) = judge(serve(lambda *_: completion(tops))).log_odds([CASE])
    return z


def test_odds_add_up_the_spellings_of_yes_and_no(serve):
    tops = [("yes", math.log(0.5)), (" Yes", math.log(0.1)), ("no", math.log(0.2)), ("maybe", -3.0)]
    assert odds(serve, tops) == pytest.approx(math.log(0.6 / 0.2))


def test_a_word_that_is_not_listed_gets_the_least_probability_that_is(serve):
    assert odds(serve, [("No", -0.1), ("Maybe", -7.0)]) == pytest.approx(-7.0 + 0.1)


def test_each_case_is_asked_by_itself_with_its_rationale_in_its_place(serve):
    server = serve(lambda *_: completion([("yes", -1.0), ("no", -1.0)]))
    about_item = JudgeInput(CASE.query, CASE.target, "item", Rationale("a reason", "mugs"))
    about_query = JudgeInput(CASE.query, CASE.target, "query", Rationale("a reason", "mugs"))
    judge(server).log_odds([CASE])
    judge(server).log_odds([about_item])
    judge(server).log_odds([about_query])
    asked = [[part["text"] for part in body["messages"][1]["content"]] for body in server.asked]
    assert [texts[1:] for texts in asked] == [
        ["red mugs", "\n<Document>:", "3 red mugs"],
        [
            *("red mugs", "\n<Document>:", "3 red mugs"),
            "\n<Reasoning about the Document>:a reason mugs",
        ],
        ["red mugs", "\n<Reasoning about the Query>:a reason mugs\n<Document>:", "3 red mugs"],
    ]
    body = server.asked[0]
    assert (body["max_tokens"], body["logprobs"], body["top_logprobs"]) == (1, True, NUM_TOP)


@pytest.mark.parametrize(
    "answer",
    [
        completion([("perhaps", -1.0)]),
        (200, {}, b'{"choices": [{"message": {"content": "yes"}}]}'),
        (200, {}, b'{"choices": []}'),
        (400, {}, b"bad request"),
    ],
)
def test_a_case_that_cannot_be_judged_is_nan(serve, answer):
    assert math.isnan(judge(serve(lambda *_: answer)).log_odds([CASE])[0])


def test_an_unreadable_image_is_nan_and_stops_no_other(serve):
    server = serve(lambda *_: completion([("yes", -1.0), ("no", -2.0)]))
    bad = JudgeInput(Content("", b"no image"), CASE.target, "query")
    first, second = judge(server).log_odds([bad, CASE])
    assert math.isnan(first)
    assert second == pytest.approx(1.0)


def test_an_endpoint_that_answers_nobody_is_an_outage(serve):
    with pytest.raises(ReasonerOutage, match="HTTP 401"):
        judge(serve(lambda *_: (401, {}, b""))).log_odds([CASE])

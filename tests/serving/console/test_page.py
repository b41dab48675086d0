"""Tests for serving/console: what its files may hold, and the headers they are served with."""

import re
from html.parser import HTMLParser

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from serving.console.page import POLICY, STATIC, add_console

SCRIPTS = sorted(STATIC.glob("*.js"))
HTML = (STATIC / "index.html").read_text()
CSS = (STATIC / "console.css").read_text()
LEAST_TEXT, LEAST_EDGE = 4.5, 3.0
"""WCAG 2.2 AA: contrast of text, and of what shows where a control is."""


@pytest.fixture(scope="module")
def client():
    app = FastAPI()
    add_console(app)
    with TestClient(app) as opened:
        yield opened


class Elements(HTMLParser):
    """Tags with their attributes, in order."""

    def __init__(self, text):
        super().__init__()
        self.found, self.within = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes), tuple(self.within)))
        if tag not in ("input", "img", "link", "meta"):
            self.within.append(tag)

    def handle_endtag(self, tag):
        while self.within and self.within.pop() != tag:
            pass


ELEMENTS = Elements(HTML).found


def test_the_page_is_at_the_root_with_a_strict_policy(client):
    reply = client.get("/")
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert reply.headers["content-security-policy"] == POLICY
    rules = dict(rule.split(" ", 1) for rule in POLICY.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert rules["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in POLICY


def test_every_file_that_is_named_is_served_and_nothing_else(client):
    named = set(re.findall(r'(?:src|href)="(/[^"#]+)"', HTML)) - {"/docs"}  # not the console's
    named |= {f"/console/{path}" for js in SCRIPTS for path in imports_of(js)}
    for address in named:
        assert client.get(address).status_code == 200, address
    assert {f"/console/{path.name}" for path in STATIC.iterdir()} == named | {"/console/index.html"}
    for address in ("/console/../page.py", "/console/%2e%2e/page.py", "/console/index.html"):
        assert client.get(address).status_code == 404


def imports_of(script):
    return re.findall(r'^import .* from "\./(.+)";$', script.read_text(), re.MULTILINE)


def test_a_browser_that_has_a_file_is_not_sent_it_again(client):
    first = client.get("/console/console.js")
    again = client.get("/console/console.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", sorted(STATIC.iterdir()), ids=lambda path: path.name)
def test_no_file_names_another_host(path):
    addresses = re.findall(r"(?:https?:)?//[\w.]+\.\w+[^\s\"']*", path.read_text())
    assert set(addresses) <= {"http://www.w3.org/2000/svg"}  # a name, which nobody fetches


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_script_parses_text_as_html_or_code(path):
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function"
    assert not re.search(forbidden, path.read_text())


def test_the_page_has_no_script_style_or_listener_in_it():
    for tag, attributes, _ in ELEMENTS:
        assert tag != "style"
        assert tag != "script" or attributes["src"]
        assert not [name for name in attributes if name.startswith("on") or name == "style"]


def test_every_field_and_button_has_a_name():
    labelled = {attributes.get("for") for tag, attributes, _ in ELEMENTS if tag == "label"}
    for tag, attributes, within in ELEMENTS:
        if tag in ("input", "select"):
            assert "label" in within or attributes["id"] in labelled, attributes
        if tag == "dialog":
            assert "aria-labelledby" in attributes
        if tag == "img":
            assert "alt" in attributes
    assert not re.search(r"<button[^>]*></button>", HTML)


def test_scripts_ask_for_elements_that_the_page_has():
    ids = {attributes["id"] for _, attributes, _ in ELEMENTS if "id" in attributes}
    asked = {found for js in SCRIPTS for found in re.findall(r'byId\("(.+?)"\)', js.read_text())}
    assert asked <= ids
    assert len(asked) > 10


def luminance(colour):
    channels = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def themes():
    """The colours of each block that sets them."""
    blocks = re.findall(r"(:root[^{]*)\{([^}]*--paper[^}]*)\}", CSS)
    return [dict(re.findall(r"--([\w-]+): (#\w{6});", block)) for _, block in blocks]


def test_contrast_is_that_of_a_reference():
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)  # WebAIM's own example


def test_dark_is_the_same_whether_chosen_or_the_systems():
    light, chosen, systems = themes()
    assert chosen == systems
    assert light.keys() == chosen.keys()


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_and_controls_stand_out(theme):
    colours = themes()[theme]
    grounds = ("paper", "card", "well")
    for ground in grounds:
        for text in ("ink", "quiet", "cool", "warm", "good", "bad"):
            ratio = contrast(colours[text], colours[ground])
            assert ratio >= LEAST_TEXT, f"{text} on {ground}: {ratio:.2f}"
        ratio = contrast(colours["edge"], colours[ground])
        assert ratio >= LEAST_EDGE, f"edge on {ground}: {ratio:.2f}"
    assert contrast(colours["on-cool"], colours["cool"]) >= LEAST_TEXT

"""The console in a real browser, in front of a service that answers from Milvus Lite."""

import base64
import json
from datetime import UTC, datetime

import polars as pl
import pytest

from catalog.lake.index_versions import IndexVersions
from catalog.lake.tables import ITEMS, MEDIA
from recall.search import Recall
from serving.app import create_app
from serving.catalogue import Catalogue
from serving.errors import error_response
from serving.state import State
from tests.clips import bar_clip
from tests.index_fixtures import KnownHistories, encoder, index, rows  # noqa: F401
from tests.serving.console.browser import opened
from tests.serving.running import running
from tests.serving.shop import HOSTILE, IMAGE, IMAGE_HASH, item, write_shop
from tests.sounds import tone_file

pytestmark = pytest.mark.integration

VECTORS = {"rose": [1, 0, 0, 0], "leaf": [0, 1, 0, 0], "sky": [0.8, 0, 0.6, 0]}
CARDS = "[...document.querySelectorAll('#results .card')].map((card) => card.dataset.id)"
FOCUSED = "document.activeElement.dataset?.id ?? document.activeElement.id"
WAITS = "document.querySelector('#results[aria-busy]') === null"


@pytest.fixture(scope="module")
def app(index, rows, encoder, tmp_path_factory):  # noqa: F811
    lake = write_shop(tmp_path_factory.mktemp("lake"))
    lake.insert_new(MEDIA, pl.DataFrame({"hash": ["film"], "bytes": [bar_clip(num_frames=6)]}))
    lake.insert_new(MEDIA, pl.DataFrame({"hash": ["bell"], "bytes": [tone_file()]}))
    shown = {"image_hash": IMAGE_HASH, "gallery_hashes": [IMAGE_HASH], "video_hash": "film"}
    shown["audio_hash"] = "bell"
    rose = item("rose", 1.5, category="garden", tags=["cut", "new"], **shown)
    lake.upsert_items(pl.DataFrame([rose], schema=ITEMS.schema))
    index.sync("v1", rows(**VECTORS), dim=4)
    index.sync("v2", rows(rose=[1, 0, 0, 0], leaf=[0.8, 0.6, 0, 0], sky=[0, 0, 1, 0]), dim=4)
    index.promote("v1")
    known = IndexVersions(lake)
    known.switch_to("v2")
    known.switch_to("v1")
    problems = ["canary_cosine must be >= 0.98, got 0.412", HOSTILE]
    known.record(
        "v1", validation=json.dumps({"problems": problems}), validated_at=datetime.now(UTC)
    )
    recall = Recall(index, lambda version: encoder, KnownHistories({"ann": ["rose"]}))
    return create_app(recall, catalogue=Catalogue(lake), state=State(lake, recall.live.get))


@pytest.fixture(scope="module")
def address(app):
    with running(app) as listening:
        yield listening


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with opened(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(tab, address):
    """The page as somebody finds it, who must have nothing to complain about afterwards."""
    tab.size(1280, 900)
    tab.open("about:blank")
    tab.open(f"{address}/")
    tab.until(f"{CARDS}.length === 3")
    yield tab
    assert tab.complaints == []
    assert "[object" not in tab.js("document.body.textContent")


def ask(page, query, cards):
    page.js(f"void (location.hash = '#/search?{query}')")
    page.until(f"{CARDS}.join() === '{cards}' && {WAITS}")


def test_a_person_searches_by_words_and_walks_the_results_by_keys(page):
    page.press("/")
    assert page.js(FOCUSED) == "text"
    page.type("red")
    page.press("Enter")
    page.until(f"{CARDS}.join() === 'rose,sky,leaf' && {WAITS}")
    assert "3 items found" in page.js("document.getElementById('told').textContent")
    assert '"text": "red"' in page.js("document.querySelector('.more pre').textContent")
    page.js("document.querySelector('#results .card').focus()")
    page.press("ArrowRight")
    assert page.js(FOCUSED) == "sky"
    page.press("Enter")
    page.until("document.getElementById('details').open")
    page.press("Escape")
    page.until("!document.getElementById('details').open")
    assert page.js(FOCUSED) == "sky"


def test_what_senders_wrote_is_shown_as_text(page):
    assert page.js("document.querySelector('[data-id=sky] .title').textContent") == HOSTILE
    page.js("document.querySelector('[data-id=sky]').click()")
    page.until("document.getElementById('details').open")
    assert page.js("document.querySelector('#details .words').textContent") == HOSTILE
    assert page.js("document.querySelector('img[src=x]')") is None
    facts = "[...document.querySelectorAll('#details dt')].map((name) => name.textContent).join()"
    assert page.js(facts) == "Id,Category,Created,Changed"
    assert page.js("document.title") == "Ponder"


def test_the_policy_lets_no_text_become_html(page):
    refused = "try { document.body.innerHTML = '<b>x</b>'; false } catch { true }"
    assert page.js(refused)
    page.js("new Promise((done) => setTimeout(done, 100))")
    page.complaints.clear()  # the browser says so, too


def test_an_image_is_searched_for_and_shown(page, tmp_path):
    file = tmp_path / "query.png"
    file.write_bytes(IMAGE)
    root = page.call("DOM.getDocument")["root"]["nodeId"]
    chooser = page.call("DOM.querySelector", nodeId=root, selector="#image")["nodeId"]
    page.call("DOM.setFileInputFiles", files=[str(file)], nodeId=chooser)
    page.until("document.getElementById('told').textContent.includes('3 items found')")
    assert page.js(CARDS) == ["sky", "leaf", "rose"]  # the fake takes any image for blue
    page.until("document.getElementById('image-preview').naturalWidth === 400")
    page.js("document.getElementById('remove-image').click()")
    assert page.js("document.getElementById('chosen-image').hidden")


def test_a_clip_is_searched_for_and_named(page, tmp_path):
    file = tmp_path / "query.mp4"
    file.write_bytes(bar_clip(num_frames=6))
    root = page.call("DOM.getDocument")["root"]["nodeId"]
    chooser = page.call("DOM.querySelector", nodeId=root, selector="#image")["nodeId"]
    page.call("DOM.setFileInputFiles", files=[str(file)], nodeId=chooser)
    page.until("document.getElementById('told').textContent.includes('3 items found')")
    assert page.js("document.getElementById('clip-name').textContent") == "query.mp4"
    assert page.js("document.getElementById('image-preview').hidden")


def test_further_images_and_the_clip_of_an_item_are_among_its_details(page):
    page.until("document.querySelector('[data-id=rose]') !== null")
    page.js("document.querySelector('[data-id=rose]').click()")
    images = "[...document.querySelectorAll('#details .strip img')].map((i) => i.naturalWidth)"
    page.until(f"{images}.join() === '320,64'")


def test_a_sound_is_searched_for_and_an_items_sound_is_played(page, tmp_path):
    file = tmp_path / "query.wav"
    file.write_bytes(tone_file(seconds=0.3))
    root = page.call("DOM.getDocument")["root"]["nodeId"]
    chooser = page.call("DOM.querySelector", nodeId=root, selector="#image")["nodeId"]
    page.call("DOM.setFileInputFiles", files=[str(file)], nodeId=chooser)
    page.until("document.getElementById('told').textContent.includes('3 items found')")
    assert page.js("document.getElementById('clip-name').textContent") == "query.wav"
    page.js("document.querySelector('[data-id=rose]').click()")
    page.js("document.querySelector('#details audio').load()")
    page.until("document.querySelector('#details audio').duration > 0.9")


def test_an_image_that_is_dropped_is_searched_for(page, tmp_path):
    file = tmp_path / "query.png"
    file.write_bytes(IMAGE)
    page.drop(file, x=640, y=400)
    page.until("document.getElementById('told').textContent.includes('3 items found')")
    assert page.js(CARDS) == ["sky", "leaf", "rose"]
    page.until("document.getElementById('image-preview').naturalWidth === 400")
    assert not page.js("document.getElementById('box').classList.contains('over')")


PASTED = """
(base64) => {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const clipboardData = new DataTransfer();
    clipboardData.items.add(new File([bytes], "query.png", { type: "image/png" }));
    document.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
}
"""


def test_an_image_that_is_pasted_is_searched_for(page):
    page.js(f"({PASTED})({json.dumps(base64.b64encode(IMAGE).decode())})")
    page.until("document.getElementById('told').textContent.includes('3 items found')")
    assert page.js(CARDS) == ["sky", "leaf", "rose"]
    page.until("document.getElementById('image-preview').naturalWidth === 400")


def test_text_that_is_pasted_is_no_image(page):
    pasted = "new ClipboardEvent('paste', { clipboardData: new DataTransfer() })"
    page.js(f"void document.dispatchEvent({pasted})")
    page.js("new Promise((done) => setTimeout(done, 100))")
    assert page.js("document.getElementById('chosen-image').hidden")


def test_images_of_items_are_shown(page):
    page.until("document.querySelector('[data-id=rose] img').naturalWidth === 320")


def test_an_item_leads_to_items_like_it(page):
    page.js("document.querySelector('[data-id=rose]').click()")
    page.until("document.getElementById('details').open")
    page.js("document.querySelector('#details .go').click()")
    page.until(f"{CARDS}.join() === 'sky,leaf' && {WAITS}")
    assert page.js("document.getElementById('item').value") == "rose"
    assert "a rose" in page.js("document.querySelector('.about').textContent")


def test_a_user_is_shown_with_their_history(page):
    ask(page, "mode=user&user=ann", "sky,leaf")
    titles = "[...document.querySelectorAll('.history .small')].map((small) => small.title).join()"
    assert page.js(titles) == "a rose,a leaf"
    ask(page, "mode=user&user=ann&seen=none", "rose,sky,leaf")


def test_filters_narrow_what_is_found_and_stand_in_the_address(page):
    page.js("document.getElementById('filters').open = true")
    page.js("document.getElementById('created_before').focus()")
    page.js(
        "for (const [id, value] of [['created_before', '1970-01-02'], ['text', 'red']])"
        "  document.getElementById(id).value = value"
    )
    page.js("document.getElementById('search').requestSubmit()")
    page.until(f"{CARDS}.join() === 'rose' && {WAITS}")
    assert "created_before" in page.js("decodeURIComponent(location.hash)")
    page.open("about:blank")
    page.call("Page.navigateToHistoryEntry", entryId=last_entry(page))
    page.until(f"{CARDS}.join() === 'rose'")
    assert page.js("document.getElementById('created_before').value") == "1970-01-02"


def last_entry(page):
    history = page.call("Page.getNavigationHistory")
    return history["entries"][history["currentIndex"] - 1]["id"]


def test_two_answers_stand_side_by_side(page):
    compared = "text=red&reasoning=never&compare=reasoning:always"
    ask(page, compared, "rose,sky,leaf,rose,sky,leaf")
    heads = "[...document.querySelectorAll('.column h2')].map((head) => head.textContent).join()"
    assert page.js(heads) == "Never reasoning,Always reasoning"
    assert page.js("document.querySelector('.rationale blockquote').textContent") == "because"
    assert "3 of 3" in page.js("document.querySelector('.agreement').textContent")
    assert page.js("document.querySelectorAll('.moved.same').length") == 6


def test_how_an_answer_came_about_is_shown(page):
    ask(page, "text=red", "rose,sky,leaf")
    page.until("document.querySelector('.gate')?.textContent === 'gate 0.50'")
    stages = page.js("document.querySelector('.timings ul').textContent")
    assert "encode" in stages
    assert "search" in stages
    assert "milvus_flat" in page.js("document.querySelector('.timings p').textContent")


def test_ways_to_search_are_asked_for_and_counted(page):
    # After rose, sky is worth .4 x .8 - .6 x .8 and leaf, which is like neither, nothing.
    ask(page, "mode=user&user=ann&interests=1&variety=0.4&seen=none", "rose,leaf,sky")
    assert page.js("document.getElementById('num-options').textContent") == " (3)"
    request = "JSON.parse(document.querySelector('.more pre').textContent.split(/\\n(.*)/s)[1])"
    asked = page.js(request)
    assert asked == {
        "top_k": 24,
        "mmr_lambda": 0.4,
        "explain": True,
        "user_id": "ann",
        "interests": 1,
        "exclude_seen": "none",
    }


def test_two_versions_stand_side_by_side(page):
    offered = "[...document.getElementById('compare').options].map((option) => option.value)"
    page.until(f"{offered}.includes('version:v2')")
    ask(page, "mode=item&item=rose&compare=version:v2", "sky,leaf,leaf,sky")
    moved = "[...document.querySelectorAll('.moved')].map((each) => each.classList[1]).join()"
    assert page.js(moved) == "up,down,up,down"
    assert page.js("document.querySelectorAll('.summary code')[1].textContent") == "v2"


def test_what_the_service_refuses_is_told_in_its_own_words(page):
    page.js("void (location.hash = '#/search?text=pink')")
    told = page.until("document.querySelector('.failure')?.textContent")
    assert "422 invalid_query" in told
    assert "unknown words" in told
    page.complaints.clear()  # a browser logs every reply above 400


def test_the_state_tells_versions_and_freshness(page):
    page.js("void (location.hash = '#/state')")
    told = page.until("document.querySelector('#state-view table') && document.body.innerText")
    assert "The service answers from its live version." in told
    for version in ("v1", "v2"):
        assert version in told
    assert "1 wait to be embedded" in told


def test_an_alarm_is_told_first_as_text_and_beside_the_name_of_the_live_version(page):
    page.js("void (location.hash = '#/state')")
    page.until("document.querySelector('#state-view table') !== null")
    alarm = page.js("document.querySelector('#state-view [role=alert]').innerText")
    assert "the live version failed its last validation" in alarm
    assert "canary_cosine must be >= 0.98, got 0.412" in alarm
    assert HOSTILE in alarm
    assert "ponder rollback" in alarm
    place = "Node.DOCUMENT_POSITION_FOLLOWING"
    tiles = "document.querySelector('#state-view .tiles')"
    first = f"document.querySelector('#state-view [role=alert]').compareDocumentPosition({tiles})"
    assert page.js(f"({first} & {place}) > 0")
    assert page.js("document.getElementById('live').innerText").split() == ["v1", "alarm"]


def test_the_reference_of_the_api_is_where_the_page_says(page):
    assert page.js("fetch(document.querySelector('footer a').href).then((reply) => reply.ok)")


def test_every_control_has_a_name(page):
    page.js("document.getElementById('filters').open = true")
    page.js("document.querySelector('.field.wide > .plain').click()")
    page.call("Accessibility.enable")
    nameless = [
        node["role"]["value"]
        for node in page.call("Accessibility.getFullAXTree")["nodes"]
        if node["role"]["value"] in ("button", "textbox", "searchbox", "combobox", "link", "radio")
        and not node.get("name", {}).get("value")
    ]
    assert nameless == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone(page, scheme, tmp_path):
    page.scheme(scheme)
    page.size(360, 740)
    wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    for view in ("#/search?mode=user", "#/search?text=red&compare=reasoning:always", "#/state"):
        page.js(f"void (location.hash = '{view}')")
        page.js("new Promise((done) => setTimeout(done, 300))")
        assert not page.js(wide), view
    page.js("void (location.hash = '#/search?text=red')")
    page.until("!document.getElementById('search-view').hidden")
    page.js("document.getElementById('filters').open = true")
    page.js("document.querySelector('.field.wide > .plain').click()")
    assert not page.js(wide)
    page.scheme("")


def behind_a_key(app, key):
    """The app, whose API answers 401 without the key."""

    async def guarded(scope, receive, send):
        is_api = scope["type"] == "http" and scope["path"].startswith("/v1/")
        if not is_api or (b"authorization", f"Bearer {key}".encode()) in scope["headers"]:
            await app(scope, receive, send)
        else:
            refusal = error_response(401, "unauthorized", "this needs an API key")
            await refusal(scope, receive, send)

    return guarded


def test_a_service_that_wants_a_key_is_given_the_one_that_is_typed_in(tab, app):
    with running(behind_a_key(app, "k1")) as address:
        tab.open(f"{address}/")
        tab.until("document.getElementById('key-dialog').open")
        assert "this needs an API key" in tab.js("document.getElementById('key-why').textContent")
        tab.js("document.getElementById('key').focus()")
        tab.type("k1")
        tab.press("Enter")
        tab.until(f"{CARDS}.length === 3")
        tab.until("document.querySelector('[data-id=rose] img').naturalWidth === 320")
        assert tab.js("document.querySelector('[data-id=rose] img').src").startswith("blob:")
        assert tab.js("localStorage.length") == 0  # gone with the tab
        tab.open("about:blank")
        tab.open(f"{address}/")  # the same tab still has it
        tab.until(f"{CARDS}.length === 3")
        tab.open("about:blank")
    tab.complaints.clear()  # a browser logs every reply above 400

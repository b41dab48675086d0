"""Tests for ponder/steps/encode.py and `ponder encode`."""

import base64
import io
import json

import numpy as np
import polars as pl
import pytest
from PIL import Image
from typer.testing import CliRunner

from embedder.content import Content, Encoding, Failure
from ponder.cli.app import app
from ponder.steps.encode import encoded_rows, read_lines, write_rows

runner = CliRunner()


def image():
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(buffer, "PNG")
    return buffer.getvalue()


def backwards(contents):
    """Answers in reverse order; an empty text fails."""
    for number, content in reversed(list(enumerate(contents))):
        if not content.text:
            yield number, Failure(ValueError("empty"))
        else:
            yield number, Encoding(np.array([3.0, 4.0, 12.0]) / 13, "direct", 0.25)


def rows(*lines, dim=None, folder=None):
    found = encoded_rows(read_lines(lines, folder=folder), backwards, version="v1", dim=dim)
    return {row.id: row for row in found}


def test_every_line_becomes_one_row_under_its_own_id():
    found = rows(
        '{"id": "a", "text": "mug"}', "", '{"item_id": 7, "text": "kite"}', '{"text": "x"}'
    )
    assert list(found) == ["4", "7", "a"]
    assert found["a"].vector == pytest.approx([3 / 13, 4 / 13, 12 / 13])
    assert found["a"].model_version == "v1"
    assert found["a"].gate_probability == 0.25


def test_a_prefix_is_normalised_again():
    assert rows('{"id": "a", "text": "mug"}', dim=2)["a"].vector == pytest.approx([0.6, 0.8])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{not json", "line 2: Expecting"),
        ("[1]", "line 2: a line must be a JSON object, got list"),
        ('{"text": 5}', "line 2: title, text and category must be strings"),
        ('{"image": "nowhere.png"}', "line 2: [Errno 2]"),
        ('{"image": "data:image/png;base64,?"}', "line 2: the data: URI must be base64"),
        ('{"text": ""}', "ValueError: empty"),
    ],
)
def test_a_bad_line_becomes_a_row_with_its_error_and_the_others_are_encoded(tmp_path, line, reason):
    found = rows('{"id": "a", "text": "mug"}', line, '{"id": "b", "text": "mug"}', folder=tmp_path)
    assert found["2"].error.startswith(reason)
    assert found["a"].vector == found["b"].vector


def test_a_line_may_be_an_item_and_bring_its_image(tmp_path):
    (tmp_path / "a.png").write_bytes(image())
    inline = "data:image/png;base64," + base64.b64encode(image()).decode()
    item = {"title": "3 mugs", "text": "new", "category": "kitchen", "tags": ["gift"]}
    lines = [json.dumps(item | {"image_uri": uri}) for uri in ("a.png", inline)]
    for line in read_lines(lines, folder=tmp_path):
        assert line.content == Content("3 mugs\nkitchen, gift\nnew", image())


def test_a_line_may_bring_further_images_a_clip_and_a_sound(tmp_path):
    for name, data in (("a.png", b"a"), ("b.png", b"b"), ("v.mp4", b"v"), ("s.ogg", b"s")):
        (tmp_path / name).write_bytes(data)
    told = {"image_uri": "a.png", "image_uris": ["a.png", "b.png"], "video_uri": "v.mp4"}
    told |= {"audio_uri": "s.ogg"}
    [line] = read_lines([json.dumps({"text": "kite"} | told)], folder=tmp_path)
    assert line.content == Content("kite", b"a", gallery=(b"b",), clip=b"v", audio=b"s")


def test_parquet_holds_the_same_rows_as_json_lines(tmp_path):
    lines = [f'{{"id": "{n}", "text": "{"x" * (n % 3)}"}}' for n in range(10)]
    done = []
    for name in ("a.parquet", "a.jsonl"):
        found = encoded_rows(read_lines(lines, folder=tmp_path), backwards, version="v", dim=None)
        assert write_rows(found, tmp_path / name, progress=done.append) == 4
    assert sum(done) == 20
    table = pl.read_parquet(tmp_path / "a.parquet")
    records = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert table["id"].to_list() == [record["id"] for record in records]
    assert table["error"].to_list() == [record.get("error") for record in records]


def test_the_command_reads_standard_input_and_writes_json_lines(tmp_path):
    asked = '{"id": "q", "text": "3 red mugs"}\n'
    arguments = ["--home", str(tmp_path), "encode", "-", "--side", "query", "--dim", "32"]
    result = runner.invoke(app, arguments, input=asked)
    assert result.exit_code == 0
    (row,) = map(json.loads, result.stdout.splitlines())
    assert row["id"] == "q"
    assert len(row["vector"]) == 32
    assert np.linalg.norm(row["vector"]) == pytest.approx(1, abs=1e-5)


def test_the_command_fails_when_a_line_did_and_still_writes_the_others(tmp_path):
    (tmp_path / "in.jsonl").write_text('{"id": "good", "text": "mug"}\n{"id": "bad", "image": 5}\n')
    out = tmp_path / "out.parquet"
    arguments = ["encode", str(tmp_path / "in.jsonl"), "--out", str(out), "--policy", "never"]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 1
    assert "lines that could not be encoded: 1" in " ".join(result.stderr.split())
    table = pl.read_parquet(out)
    assert set(table["id"]) == {"good", "bad"}
    assert table.filter(id="good")["action"].to_list() == ["direct"]


def test_marks_before_a_line_and_null_for_an_id_are_absent():
    found = rows('\ufeff{"id": null, "item_id": "a", "text": "mug"}', "\ufeff", '{"id": null}')
    assert list(found) == ["3", "a"]

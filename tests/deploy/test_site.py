"""The pages make a site in which every link leads somewhere, and none is left out."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
HOOK = importlib.util.spec_from_file_location("site_links", ROOT / "deploy" / "site_links.py")
site_links = importlib.util.module_from_spec(HOOK)
HOOK.loader.exec_module(site_links)


def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("material", reason="needs the extra docs")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path],
        cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (built.returncode, built.stdout + built.stderr) == (0, "")
    assert (tmp_path / "quickstart" / "index.html").is_file()
    page = (tmp_path / "architecture" / "index.html").read_text()
    assert 'href="../' in page
    assert 'href="../../ponder' not in page  # files that a site does not have


def test_the_menu_has_every_page_once():
    def pages(entry):
        match entry:
            case str():
                yield entry
            case dict() | list():
                inner = entry.values() if isinstance(entry, dict) else entry
                for each in inner:
                    yield from pages(each)

    listed = list(pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    there = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert sorted(listed) == sorted(there)


@pytest.mark.parametrize(
    ("repository", "shown"),
    [
        ("", "see code, [b](../b.md#c)"),
        ("https://x/y/", "see [code](https://x/y/blob/main/z/a.py)"),
    ],
)
def test_a_link_out_of_the_pages_leads_to_the_repository_or_is_text(repository, shown):
    page = SimpleNamespace(file=SimpleNamespace(src_uri="folder/page.md"))
    config = {"docs_dir": str(ROOT / "docs"), "repo_url": repository}
    text = "see [code](../../z/a.py), [b](../b.md#c), [w](https://w), ![i](../../i.png)"
    told = site_links.on_page_markdown(text, page=page, config=config, files=None)
    assert told.startswith(shown)
    assert told.endswith("[b](../b.md#c), [w](https://w), ![i](../../i.png)")

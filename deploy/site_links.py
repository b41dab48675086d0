"""MkDocs hook: links from a page to files outside of docs/ lead to the repository, if it is known.

Set `repo_url` in mkdocs.yml, or SITE_REPOSITORY, to where the code is browsed; without it such a
link is its text alone, for a site cannot show the files.
"""

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Return a page whose links lead somewhere."""
    docs = Path(config["docs_dir"]).resolve()
    here = (docs / page.file.src_uri).parent
    base = os.environ.get("SITE_REPOSITORY") or config.get("repo_url") or ""

    def led(link: re.Match[str]) -> str:
        text, target, place = link[1], link[2], link[3] or ""
        if "://" in target or target.startswith("mailto:"):
            return link[0]
        path = (here / target).resolve()
        if path.is_relative_to(docs) and path.suffix != ".json":
            return link[0]
        if not base:
            return text
        inside = PurePosixPath(path.relative_to(docs.parent).as_posix())
        return f"[{text}]({base.rstrip('/')}/blob/main/{inside}{place})"

    return LINK.sub(led, markdown)

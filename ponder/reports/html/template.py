"""The pages' templates: one style, one way to write values, no trust in what is shown.

Titles, queries and rationales are strangers' words: a template escapes all of them, and each page's
own policy forbids it to run or to fetch anything.
"""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from ponder.reports.html.formatting import FILTERS


def template(name: str) -> Template:
    """Return a template of the folder `templates`, with the filters of `formatting`."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    return environment.get_template(name)

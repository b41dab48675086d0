"""The page that lies beside an export and says what it is, for whoever finds the folder."""

from collections.abc import Mapping
from typing import Any


def card(manifest: Mapping[str, Any]) -> str:
    """Return a README of an export, in Markdown.

    Args:
        manifest: as `features.export.Export.finish` gives it.
    """
    parts = manifest["partitions"]
    open_days = [str(part["day"]) for part in parts if not part["settled"]]
    lines = [
        "# Match features",
        "",
        f"{manifest['num_rows']:,} rows, an item of a request each, of "
        f"{manifest['num_requests']:,} requests on {len(parts)} days, from {manifest['first_ts']} "
        f"to {manifest['last_ts']}.",
        "",
        f"- vectors: {manifest['vectors']}",
        f"- measured against the reference {manifest['reference']['name']}/"
        f"{manifest['reference']['number']} ({manifest['reference']['id']})",
        f"- groups: {', '.join(manifest['set'])}",
        f"- requests: {manifest['protocol']}",
        f"- schema {manifest['schema_hash']}",
        f"- made of {_pairs(manifest['source'])} (table and commit of the lake)",
        f"- left out or mended: {_pairs(manifest['left_out']) or 'nothing'}",
        f"- days that may still change: {', '.join(open_days) or 'none'}",
        "",
        "`relevance` is what became of the item, 0 when nothing did. Null is missing, never 0.",
        "",
        "| feature | type | unit | meaning | formula | missing |",
        "|---|---|---|---|---|---|",
        *(_row(feature, parts, manifest["num_rows"]) for feature in manifest["features"]),
        "",
        "    polars.scan_parquet('date=*/*.parquet')",
        "    pandas.read_parquet('.')",
        "    duckdb: SELECT * FROM 'date=*/*.parquet'",
        "",
    ]
    return "\n".join(lines)


def _pairs(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _row(feature: Mapping[str, Any], parts: Any, num_rows: int) -> str:
    missing = sum(part["nulls"].get(feature["name"], 0) for part in parts) / num_rows
    return (
        f"| `{feature['name']}` | {feature['dtype']} | {feature['unit']} | "
        f"{feature['description']} | `{feature['source']}` | {missing:.1%} |"
    )

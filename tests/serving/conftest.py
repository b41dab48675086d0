"""Fixtures of an index in Milvus Lite."""

from tests.index_fixtures import encoder, index, rows

__all__ = ["encoder", "index", "rows"]

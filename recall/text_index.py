"""Items found by their words: BM25 over what the embedder reads of an item.

Tantivy keeps the index in files that are mapped into memory, so a catalogue of any size takes some
tens of MB here. A query is words and never syntax.
"""

import shutil
import tempfile
import weakref
from collections.abc import Iterable
from dataclasses import dataclass

import tantivy

MAX_INDEXED_CHARS = 20_000
MAX_QUERY_TOKENS = 64
MAX_TOKEN_BYTES = 40  # tantivy's own tokenizer drops longer ones
WRITER_BYTES = 32 * 2**20


@dataclass(frozen=True, slots=True)
class LexicalMatch:
    """An item that holds words of a query."""

    item_id: str

    score: float
    """BM25, > 0; comparable within one query only."""


class TextIndex:
    """The words of items, in files of its own that go with it.

    One thread at a time may change it; any number may search meanwhile, and find what was there at
    the last `commit`.
    """

    def __init__(self) -> None:
        """Make an empty index in a temporary folder."""
        folder = tempfile.mkdtemp(prefix="ponder-text-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._schema = (
            tantivy.SchemaBuilder()
            .add_text_field("item_id", stored=True, tokenizer_name="raw", index_option="basic")
            .add_text_field("text", tokenizer_name="default", index_option="freq")
            .build()
        )
        self._analyzer = (
            tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
            .filter(tantivy.Filter.remove_long(MAX_TOKEN_BYTES))
            .filter(tantivy.Filter.lowercase())
            .build()
        )
        self._index = tantivy.Index(self._schema, path=folder)
        self._writer = self._index.writer(heap_size=WRITER_BYTES, num_threads=1)

    def put(self, texts: Iterable[tuple[str, str]]) -> None:
        """Put items, by id and text, in place of what was known of them."""
        for item_id, text in texts:
            self._writer.delete_documents_by_term("item_id", item_id)
            document = tantivy.Document(item_id=item_id, text=text[:MAX_INDEXED_CHARS])
            self._writer.add_document(document)

    def remove(self, item_ids: Iterable[str]) -> None:
        """Forget items; unknown ones are passed over."""
        for item_id in item_ids:
            self._writer.delete_documents_by_term("item_id", item_id)

    def commit(self) -> None:
        """Let searches find what was put, and no longer what was removed."""
        self._writer.commit()
        self._index.reload()

    def search(self, text: str, *, limit: int) -> list[LexicalMatch]:
        """Return the items that hold words of a text, best first; equal ones in order of item_id.

        Args:
            text: untrusted; its first 64 different words count.
            limit: items at most, >= 1.
        """
        readable = text.encode(errors="replace").decode()  # half a surrogate pair is no text there
        tokens = list(dict.fromkeys(self._analyzer.analyze(readable)))[:MAX_QUERY_TOKENS]
        if not tokens:
            return []
        terms = [
            (
                tantivy.Occur.Should,
                tantivy.Query.term_query(self._schema, "text", token, "freq"),
            )
            for token in tokens
        ]
        searcher = self._index.searcher()
        found = searcher.search(tantivy.Query.boolean_query(terms), limit=limit)
        matches = [
            LexicalMatch(str(searcher.doc(address)["item_id"][0]), float(score))
            for score, address in found.hits
        ]
        return sorted(matches, key=lambda match: (-match.score, match.item_id))

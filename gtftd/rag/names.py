"""Names that a query may call a document by: a bead's id, a file's path or name, a formula's name."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from gtftd.rag.words import names_of
from gtftd.schemas.rag import Collection

_FORMULA = re.compile(r"(\.formula)?\.(toml|json|ya?ml|md)$")
_INNER = re.compile(r"[-_./]")
MAX_NAMED = 16
"""Names of one query that are looked up."""


def names_of_document(document: str, collection: Collection, bead: str | None) -> tuple[str, ...]:
    """In small letters; no plain words, so that no word of a query is taken for a name."""
    if bead is not None:
        return (bead.lower(),)
    kind, _, rest = document.partition(":")
    if kind != "file":
        return ()
    path = PurePosixPath(rest.lower())
    names = [str(path), path.name, *(["/".join(path.parts[-2:])] if len(path.parts) > 2 else [])]
    if collection == "formulas":
        names.append(_FORMULA.sub("", path.name))
    return tuple(name for name in dict.fromkeys(name.lstrip("./") for name in names) if _INNER.search(name))


class Names:
    """Which documents a name stands for; not thread-safe."""

    def __init__(self) -> None:
        self._documents: dict[str, set[str]] = {}
        self._names: dict[str, tuple[str, ...]] = {}

    def put(self, document: str, names: tuple[str, ...]) -> None:
        if self._names.get(document) == names:
            return
        self.remove(document)
        self._names[document] = names
        for name in names:
            self._documents.setdefault(name, set()).add(document)

    def remove(self, document: str) -> None:
        for name in self._names.pop(document, ()):
            mates = self._documents[name]
            mates.discard(document)
            if not mates:
                del self._documents[name]

    def clear(self) -> None:
        self._documents.clear()
        self._names.clear()

    def named_in(self, query: str) -> list[str]:
        """Documents that the query names, in the order of saying."""
        said = list(dict.fromkeys(names_of(query)))[:MAX_NAMED]
        found = [sorted(self._documents.get(name, ())) for name in said]
        return list(dict.fromkeys(document for documents in found for document in documents))

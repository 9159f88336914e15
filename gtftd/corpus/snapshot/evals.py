"""The examination: eval items out of promptfoo YAML, JSON, JSONL and text files."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from gtftd.corpus.snapshot.words import words_of
from gtftd.errors import Invalid

GRAM = 13
"""Words that follow one another and stand in an eval item: Brown et al. 2020 (arXiv:2005.14165), appendix C."""
SHORT = 8
"""A shorter item than 13 words counts as one gram, down to so many words."""
WHOLE = 4
"""A shorter one yet is only found as a whole message, down to so many words."""
MAX_FILE_BYTES = 64 * 1024**2
_MAX_STRINGS = 1_000_000
_BEADLIKE = re.compile(r"\b[A-Za-z][A-Za-z0-9_]{0,31}(?:-[A-Za-z0-9_]+){1,6}(?:\.\d+)*")
_LISTS = ("tests", "items", "cases", "examples", "data", "questions", "scenarios")


@dataclass(frozen=True)
class EvalItem:
    """One item: where it stands, and every piece of text in it."""

    name: str
    texts: tuple[str, ...]


@dataclass(frozen=True)
class EvalIndex:
    """The items as what entries are searched for. Sent to the processes that read entries."""

    digest: str = ""
    files: int = 0
    items: int = 0
    too_short: int = 0
    grams: Mapping[str, str] = field(default_factory=dict)
    """Gram to item."""
    anchors: Mapping[tuple[str, str], tuple[tuple[int, int], ...]] = field(default_factory=dict)
    """Two rare words of each gram, to where they stand in it and how long it is: so most text is passed over fast."""
    messages: Mapping[str, str] = field(default_factory=dict)
    beads: Mapping[str, str] = field(default_factory=dict)
    """Everything in the items that looks like a bead id, to the item."""


def read_evals(paths: Sequence[Path]) -> EvalIndex:
    """Raises Invalid for what cannot be read: without it nobody knows what must stay out."""
    files = [file for path in paths for file in _files(path.expanduser())]
    if not files:
        return EvalIndex()
    whole = hashlib.sha256(f"{GRAM} {SHORT} {WHOLE}".encode())
    items: list[EvalItem] = []
    for file in files:
        content = _content(file)
        whole.update(hashlib.sha256(content).digest())
        items += _items(file, content)
    return _index(items, whole.hexdigest(), len(files))


def _index(items: Sequence[EvalItem], digest: str, files: int) -> EvalIndex:
    grams: dict[str, str] = {}
    anchors: dict[tuple[str, str], set[tuple[int, int]]] = {}
    messages: dict[str, str] = {}
    beads: dict[str, str] = {}
    too_short = 0
    for item in items:
        lengths = []
        for text in item.texts:
            words = words_of(text)
            lengths.append(len(words))
            for bead in _BEADLIKE.findall(text):
                beads.setdefault(bead.lower(), item.name)
            if WHOLE <= len(words) < SHORT:
                messages.setdefault(" ".join(words), item.name)
            rarity = [len(a) + len(b) for a, b in pairwise(words)]
            for start, length in _grams(len(words)):
                if grams.setdefault(" ".join(words[start : start + length]), item.name) == item.name:
                    at = _anchor(rarity[start : start + length - 1])
                    anchors.setdefault((words[start + at], words[start + at + 1]), set()).add((at, length))
        too_short += max(lengths, default=0) < WHOLE
    found = {pair: tuple(sorted(where)) for pair, where in anchors.items()}
    return EvalIndex(digest, files, len(items), too_short, grams, found, messages, beads)


def _grams(count: int) -> Iterator[tuple[int, int]]:
    """Where the grams of so many words begin, and how long they are."""
    if SHORT <= count < GRAM:
        yield 0, count
    for start in range(count - GRAM + 1):
        yield start, GRAM


def _anchor(rarity: Sequence[int]) -> int:
    """Where the two longest neighbours stand: long words are rare words."""
    return rarity.index(max(rarity))


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise Invalid(f"snapshots.eval_items names {path}, and there is no such file or folder")
    inside = (file for file in path.rglob("*") if file.is_file())
    return sorted(file for file in inside if not any(part.startswith(".") for part in file.relative_to(path).parts))


def _content(file: Path) -> bytes:
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise Invalid(f"eval file {file} is larger than {MAX_FILE_BYTES} bytes; split it")
        return file.read_bytes()
    except OSError as error:
        raise Invalid(f"cannot read eval file {file}: {error.strerror}; no snapshot is built without it") from error


def _items(file: Path, content: bytes) -> list[EvalItem]:
    try:
        text = content.decode("utf-8-sig")
        if "\0" in text:
            raise Invalid(f"eval file {file} is no text; take it out of snapshots.eval_items or out of the folder")
        parts = _parts(file, text)
        found = [EvalItem(f"{file.name}#{number}", tuple(_strings(part))) for number, part in enumerate(parts, 1)]
    except (ValueError, RecursionError) as error:
        raise Invalid(f"cannot read eval file {file}: {_short(error)}; no snapshot is built without it") from error
    return [item for item in found if any(text.strip() for text in item.texts)]


def _parts(file: Path, text: str) -> list[object]:
    match file.suffix.lower():
        case ".jsonl" | ".ndjson":
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        case ".json":
            return _document(json.loads(text))
        case ".yaml" | ".yml":
            return [part for document in _yaml(text) for part in _document(document)]
    return [text]


def _document(document: object) -> list[object]:
    """One part for each item; a promptfoo suite's prompts only where they are no templates of its tests."""
    if isinstance(document, list):
        return list(document)
    if not isinstance(document, dict):
        return [document]
    lists = [document[name] for name in _LISTS if isinstance(document.get(name), list)]
    if not lists:
        return [document]
    rest = {key: value for key, value in document.items() if key not in (*_LISTS, "prompts", "providers")}
    prompts = document.get("prompts")
    whole = [text for text in _strings(prompts) if "{{" not in text and "://" not in text] if prompts else []
    return [
        *(item for items in lists for item in items),
        *whole,
        *([rest["defaultTest"]] if "defaultTest" in rest else []),
    ]


def _yaml(text: str) -> list[object]:
    import yaml  # type: ignore[import-untyped]  # only where an examination is named

    try:
        return list(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _strings(part: object) -> Iterator[str]:
    """Every text in a document; one that is nested or repeated beyond reason is refused."""
    stack, seen = [part], 0
    while stack:
        value = stack.pop()
        seen += 1
        if seen > _MAX_STRINGS:
            raise ValueError(f"more than {_MAX_STRINGS} values in one item")
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            stack.extend(reversed(value.values()))
        elif isinstance(value, list):
            stack.extend(reversed(value))


def _short(error: Exception) -> str:
    """Where, never what: an eval item is shown to nobody."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} in line {error.lineno}, column {error.colno}"
    mark = re.search(r"line \d+, column \d+", str(error))
    return f"{type(error).__name__}{', ' + mark[0] if mark else ''}"

"""Whether a run of characters looks like a secret of no known shape, or like something people write.

People write words: separated, in camel case, with a number behind. A random run changes between letters,
digits and cases all the time. What is neither is taken for a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

MIN_RUN = 20
RUN = re.compile(r"[A-Za-z0-9+/_=.~-]{20,}")
_ATOM = re.compile(r"[A-Za-z0-9]+")
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_VOWEL = re.compile(r"[aeiouyAEIOUY]")
_UNSPEAKABLE = re.compile(r"[^aeiouyAEIOUY]{5}")
_HEX = re.compile(r"(?:0x)?(?:[0-9a-f]+|[0-9A-F]+)")
_SAFE = re.compile(
    r"""
      [0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}          # UUID
    | (?:toolu|srvtoolu|msg|req|call|chatcmpl)_[A-Za-z0-9]{1,40}            # ids that a harness hands out
    | \d{4}-?\d{2}-?\d{2}[T_.-]?\d{2}[-_.]?\d{2}[-_.]?\d{2}[0-9.]*(?:Z|[+-]\d{4})?  # times
    | v?\d+\.\d+(?:\.\d+)*(?:[-+][0-9A-Za-z.-]*)?                           # versions, Go pseudo-versions
    """,
    re.VERBOSE,
)
_HEX_CONTEXT = re.compile(
    r"(?:commit|sha\d*|sha-\d+|md5|merge|tree|parent|head|index|rev|revision|hash|digest|blob|checksum|refs|git"
    r"|object|objects|tag|pick|etag)\W{0,3}\Z",
    re.IGNORECASE,
)
_GIT_LINE = re.compile(r"(?:^|[\n\r])[+^>* |/\\-]{0,6}\Z")


@dataclass(frozen=True)
class Suspect:
    """Where in the text a run stands that looks like a secret."""

    start: int
    end: int


def suspects(text: str) -> Iterator[Suspect]:
    """The runs of 20 and more characters that look random; one pass."""
    for run in RUN.finditer(text):
        start, end = run.span()
        begin = start
        while begin < end:  # `name=value`: judge the parts, padding stays with the value
            equals = text.find("=", begin, end)
            stop = end if equals < 0 or not text[equals:end].strip("=") else equals
            if stop - begin >= MIN_RUN:
                found = _suspect(text, begin, stop)
                if found is not None:
                    yield found
            begin = stop + 1


def _suspect(text: str, start: int, end: int) -> Suspect | None:
    run = text[start:end].rstrip(".")
    if _SAFE.fullmatch(run):
        return None
    odd = [atom for atom in _ATOM.finditer(run) if is_odd(atom.group()) and not _is_hash(text, start, atom)]
    if not odd:
        return None
    length = sum(len(atom.group()) for atom in odd)
    longest = max(len(atom.group()) for atom in odd)
    if longest < 16 and (length < 12 or 2 * length < len(run)):
        return None
    if "+" not in run and (run.startswith(("/", "~", "./", "../")) or (run.count("/") > 1 and 2 * length < len(run))):
        return Suspect(start + odd[0].start(), start + odd[-1].end())
    return Suspect(start, start + len(run))


def is_odd(atom: str) -> bool:
    """Whether a run of letters and digits does not read as words and numbers."""
    size = len(atom)
    if size < 5 or atom.isdigit() or len(set(atom)) < 5:
        return False
    pieces = _WORDS.findall(atom)
    if size < 10:
        return len(pieces) > 2
    if atom.isalpha() and (atom.islower() or atom.isupper()):
        return size > 26 or (size >= 20 and _UNSPEAKABLE.search(atom) is not None)
    if _HEX.fullmatch(atom) and size >= 24 and not atom.isalpha():
        return True
    if atom.islower() or atom.isupper():  # with digits between
        return size < 3.5 * len(pieces) or len(pieces) > (4 if size < 24 else 2)
    bad = sum(len(piece) for piece in pieces if not _is_word(piece))
    return size < (3.3 if atom.isalpha() else 4) * len(pieces) or 5 * bad > size


def _is_word(piece: str) -> bool:
    """A piece of a camel-case name: a word with a vowel in it, an abbreviation, a number of a few digits."""
    if piece.isdigit() or piece.isupper():
        return 1 < len(piece) < 6
    return len(piece) > 1 and _VOWEL.search(piece) is not None


def _is_hash(text: str, start: int, atom: re.Match[str]) -> bool:
    """Whether this is a git object's name or a checksum: pure hex of the right length in such company."""
    size = len(atom.group())
    if not _HEX.fullmatch(atom.group()) or not (7 <= size <= 40 or size in (56, 64, 96, 128)):
        return False
    place = start + atom.start()
    before = text[max(0, place - 24) : place]
    if _HEX_CONTEXT.search(before) is not None:
        return True
    return size in (40, 64) and (place == 0 or before.endswith("@") or _GIT_LINE.search(before) is not None)

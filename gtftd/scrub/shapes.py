"""Whether a run of characters looks like a secret of no known shape, or like something that people write.

Words, names and paths read alike everywhere; a random run does not (see `randomness`). Sums, ids and pictures are
random too, so what stands around a run decides about those.
"""

# ruff: noqa: E501  (tables of patterns and words)
from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from functools import lru_cache
from operator import sub

from gtftd.scrub.randomness import surprise

MIN_RUN = 16
_ATOM = re.compile(r"[A-Za-z0-9]+")
_HUMP = re.compile(r"[A-Z][a-z]{2,}")
"""A word in an identifier: `TeardownHook`."""
_FILE = re.compile(r"/[\w-]+\.[a-z]{1,4}\Z")
_STRUCT = re.compile(r"[xcbBhHiIlLqQnNefdspP0-9]+")
_HEX = re.compile(r"(?:0x)?(?:[0-9a-f]+|[0-9A-F]+)")
_SAFE = re.compile(
    r"""
      [0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\S{0,12}   # UUID
    | (?:toolu|srvtoolu|msg|req|call|chatcmpl|resp|evt|run|step|thread|asst|cmpl|fc|rs)_[A-Za-z0-9]{1,64}  # ids of a harness
    | \d{4}-?\d{2}-?\d{2}[T_.-]?\d{2}[-_.]?\d{2}[-_.]?\d{2}[0-9.]*(?:Z|[+-]\d{4})?\S{0,16}  # times
    | v?\d+\.\d+(?:\.\d+)*(?:[-+][0-9A-Za-z.+-]*)?                         # versions, Go pseudo-versions
    | I[0-9a-f]{40}                                                        # a change of Gerrit
    | sha\d{1,3}-[A-Za-z0-9+/]{20,}={0,2}                                  # integrity
    | [a-z]{1,4}:?//.*
    | 0x[01]\.[0-9a-f]*p[+-]?\d+                                            # floating-point numbers, exactly
    | _?_?ZN?K?\d{1,2}[A-Za-z]\w*                                            # C++ names as the linker knows them
    | (?i:xn--)[A-Za-z0-9-]+                                               # names of domains in other scripts
    """,
    re.VERBOSE,
)
_SUM_WORDING = (
    "commit shasum sha sha- md5 merge merged tree parent head index rev revision hash hashes digest blob checksum checksums refs"
    " git oid object objects tag pick etag etags integrity fingerprint h1 zh bundle crc sum sums traceid trace_id spanid span_id"
    " requestid request_id container image layer s/n drc snapshot squash fixup revert reverts reverted cherry base onto from at"
    " bisect origin branch blake blake2 blake2b blake2s blake3 ref resolved hexsha gen vendor uuid guid build buildid build-id"
    " version checkout reset show log diff rebase master main cid eid nonce_pub signature_of address txid tx block pubkey public"
    " pub color colour object_id _id correlation hex sequence dna node file name inode serial cursor sig signature nonce keyid"
    " serialnumber serial_number recv-keys"
)
_SUM_NAMES = tuple(_SUM_WORDING.split())
_IDENT = re.compile(r"(?<![A-Za-z])(?:id|ID|up to)\Z")
_BETWEEN = "".join(sign for sign in map(chr, range(1, 128)) if not sign.isalnum() and sign != "_")
_LAST_HEX = re.compile(r"(?<![0-9a-f])[0-9a-f]{7,40}\W{1,3}\Z", re.IGNORECASE)
_SUM_NEAR = re.compile(
    r"(?i)(?<![a-z])(?:sha-?\d+|shasum|md5|md5sum|checksums?|integrity|digests?|hash(?:es)?|commits?|merkle\w*|git|revisions?|HEAD|blobs?)(?![a-z])"
    r"(?!.{0,200}(?:token|secret|password|key|credential))"
)
_SUM_WORDS = (
    "sha",
    "md5",
    "checksum",
    "integrity",
    "digest",
    "hash",
    "commit",
    "merkle",
    "git",
    "revision",
    "head",
    "blob",
)
"""One of them is in all that `_SUM_NEAR` finds: a cheaper look."""
_NAMED_SECRET = re.compile(
    r"(?:key|token|secret|passw\w*|pwd|credential|auth|bearer|pass|seed|salt|pepper|hmac)[^\w\n]{0,6}(?:\w{1,8}[^\w\n]{1,3})?\Z",
    re.IGNORECASE,
)
_FINGERPRINT = re.compile(r"(?i:signing|gpg|pgp|upstream|'s) (?i:key)(?: ID)?:? \Z|(?:^|\s)[\w.-]+(?:/[\w.-]+)*/\Z")
_ALONE_BEFORE = re.compile(r"\n[ +-]*b?[\"']\Z")
_ALONE_BEHIND = re.compile(r"[\"'][),]*(?:\n|\Z)")
"""A literal alone on its line: what a function of sums should return."""
_COMMIT = re.compile(r"(?:^|[\s(\"'])(?:[Cc]ommit|Merge:|tree|parent) \Z")
_SECRET_NEAR = re.compile(
    r"(?i)key(?!s\.openpgp|server)|token|secret|passw|pwd|credential|auth|bearer|seed|salt|hmac|pepper|login|cookie|session|curl|-H|value|works with"
)
_LINE_HEAD = re.compile(r"(?:^|[\n\r])[+^>* |/\\•·-]{0,8}\Z")
_LISTED = re.compile(r"(?: {2}| \*)[\w./-]+")
_DATA = re.compile(
    r"(?:MFkwEwYHKoZIzj0CAQYI|MHYwEAYHKoZIzj0CAQYF|MCowBQYDK2VwAyEA|MIIBIjANBgkqhkiG9w0BAQEF|MIICIjANBgkqhkiG9w0BAQEF|iVBOR|/9j/|R0lGOD|AGFzbQ|UklGR|d09G[RM]|JVBERi|T2dnUw|AAAB|SUQz|Qk0|UEsDB|PHN2Zy|PD94bWw|AAEAAA|T1RUTw|f0VMR|H4sI|eyJ2ZXJzaW9u)"
)
"""How pictures, fonts, archives and public keys begin."""
_DATA_BEFORE = re.compile(r"(?:base64,|url\(|sourceMappingURL=\S{0,60}|data:\S{0,40})\Z")
_OPEN_BEFORE = re.compile(
    r"(?:boundary[\"']?\s?[=:]\s?[\"'\\]{0,3}|=\?[\w-]{2,20}\?[bBqQ]\?|/projects/status/|\.html#|gist\.github\.com/[\w-]{1,40}/|gravatar\.com/avatar/|commitid:\s|--(?:recv|send)-keys?\s)\Z"
)
"""What everybody may see by its place: the edges of mail parts, encoded words, badges, anchors of pages."""
_BASE64 = re.compile(r"[A-Za-z0-9+/]{8,}")
_NAMED_BY_SUM = re.compile(
    r"(?:[\w.-]{1,40}/){0,8}(?:[0-9a-f]{40}|[0-9A-F]{40}|[0-9a-f]{64}|[0-9a-f]{32})(?:\.[a-z]{2,5}(?![\w=])|/[\w./-]*\.[a-z]{1,4}(?!\w))"
)
"""A file, or a folder with one in it, that has a sum for a name."""
_ROW = re.compile(r"[ \t|]*[A-Za-z0-9+/]+={0,2}")
_CLASS_BEHIND = re.compile(r"\[(?:\^|\\[wdsWDS]|[A-Za-z0-9]-[A-Za-z0-9])")
MAX_TOKEN = 300
"""A longer run is data: a picture, a font, a compiled module."""


@lru_cache(maxsize=1 << 14)
def suspicious(run: str) -> tuple[tuple[int, int], ...]:
    """The pieces of a run that look random, whatever stands around it."""
    found = []
    begin = 0
    while begin < len(run):  # `name=value`: judge the parts, padding stays with the value
        equals = run.find("=", begin)
        stop = len(run) if equals < 0 or not run[equals:].strip("=") else equals
        if stop - begin >= MIN_RUN and (place := _suspicious(run[begin:stop])) is not None:
            found.append((begin + place[0], begin + place[1]))
        begin = stop + 1
    return tuple(found)


def _suspicious(part: str) -> tuple[int, int] | None:
    bare = part.rstrip(".-/_~")
    lead = len(bare) - len(bare.lstrip("-./~=_"))
    core = bare[lead:]
    if len(core) < MIN_RUN or _SAFE.fullmatch(core):
        return None
    odd = [atom for atom in _ATOM.finditer(core) if is_odd(atom.group())]
    length = sum(len(atom.group()) for atom in odd)
    longest = max((len(atom.group()) for atom in odd), default=0)
    if longest >= MIN_RUN or (length >= 12 and 2 * length >= len(core)):
        if core.endswith("=") and len(core) % 4 == 0:  # base64, whatever its atoms are
            return lead, len(bare)
        if core.count("/") > 1 and "+" not in core:  # a path with a strange name in it
            return lead + odd[0].start(), lead + odd[-1].end()
        if longest >= MIN_RUN and 2 * length < len(core):
            return lead + odd[0].start(), lead + odd[-1].end()
        return lead, len(bare)
    return (lead, len(bare)) if _is_odd_mix(core) else None


def _is_odd_mix(core: str) -> bool:
    """Base64 that its own signs cut into atoms too short to judge."""
    if not any(sign.isdigit() for sign in core) or core.islower() or core.isupper():
        return False
    if 2 * sum(len(hump) for hump in _HUMP.findall(core) if surprise(hump) < 0) >= len(core) or _FILE.search(core):
        return False
    if core.count(".") > 1 or core.count("-") + core.count("_") + core.count("/") > len(core) // 5:
        return False
    return surprise(core) > 0.5


@lru_cache(maxsize=1 << 14)
def is_odd(atom: str) -> bool:
    """Whether a run of letters and digits does not read as words and numbers."""
    size = len(atom)
    if size < 8 or atom.isdigit() or len(set(atom)) < 6 or "123456789" in atom:
        return False
    if atom.isalpha() and (atom.islower() or atom.isupper()):
        return size >= MIN_RUN and surprise(atom) > 0.3 and not _is_row(atom) and len(set(atom)) > 7
    if _HEX.fullmatch(atom):
        return size >= 24 and not atom.isalpha()
    digits = sum(map(str.isdigit, atom))
    limit = 0.2 if size >= 20 else 0.35 if size >= MIN_RUN else 0.8
    if size < MIN_RUN and (digits == 0 or digits > size - 3):
        return False
    if digits == 0:
        limit = 0.6
    if 2 * sum(map(len, _HUMP.findall(atom))) >= size:
        return False
    return surprise(atom) > limit and not _is_row(atom)


def _is_row(atom: str) -> bool:
    """An alphabet, or a pattern that repeats."""
    codes = list(map(ord, atom))
    steps = Counter(map(sub, codes[1:], codes))
    lowered, half = atom.lower(), len(atom) // 2
    return (steps[0] + max(steps[1], steps[-1])) * 2 > len(atom) or lowered[:half] == lowered[half : 2 * half]


def is_harmless_here(text: str, start: int, end: int) -> bool:
    """Whether what stands around a suspicious piece says what it is: a sum, an object's name, a picture's data."""
    piece = text[start:end]
    before = text[max(0, start - 48) : start]
    if len(piece) > MAX_TOKEN or _DATA.match(piece) or _DATA_BEFORE.search(before) or _OPEN_BEFORE.search(before):
        return True
    if _is_of_code(text, start, end, before) or says_words(piece) or _NAMED_BY_SUM.match(text, start, end + 48):
        return True
    bare = piece.rstrip("=")
    if _in_block(text, start, "PRIVATE"):
        return False
    if _in_block(text, start, ""):
        return True
    if _HEX.fullmatch(bare):
        if bare.startswith("0x") and len(bare) < 40 and before[-1:] in " (,[=":  # a number
            return _NAMED_SECRET.search(before) is None
        return _is_sum(text, start, end, before)
    if (
        _names_sum(before)
        and len(bare) in (22, 27, 32, 38, 43, 44, 52, 64, 86, 87, 88)
        and not _NAMED_SECRET.search(before)
    ):
        return (
            re.search(r"(?i)(?:sha|hash|integrity|sum|digest|h1|fingerprint|etag|cid|commit|key_?id)", before)
            is not None
        )
    return _is_block(text, start, end)


def _is_of_code(text: str, start: int, end: int, before: str) -> bool:
    """A format of `struct`, a class of characters, the beginning of a pattern, the edge of a part of a mail."""
    piece, after = text[start:end], text[end : end + 10]
    if _STRUCT.fullmatch(piece) and not _HEX.fullmatch(piece):
        return before.rstrip("<>!@")[-1:] in ("'", '"') and after[:1] in ("'", '"')
    if after[:1] == "]" and "[" in before[-4:]:
        return True
    if before.endswith("\n--") and after.startswith(("\nContent-", "--\n", "\n\n")):
        return True
    return _CLASS_BEHIND.match(after) is not None


@lru_cache(maxsize=1 << 12)
def says_words(piece: str) -> bool:
    """Whether a run of base64 says words that would stay if they stood there themselves."""
    bare = piece.rstrip("=")
    if len(bare) % 4 == 1 or _BASE64.fullmatch(bare) is None:
        return False
    try:
        said = base64.b64decode(bare + "=" * (-len(bare) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError):
        return False
    words = [word for word in re.split(r"[^\w]+", said) if word]
    signs = sum(not (sign.isalpha() or sign in " ,.:;'\n-") for sign in said)
    return bool(words) and signs * 6 < len(said) and all(map(_is_wordy, words))


def _is_wordy(word: str) -> bool:
    """Letters that read like a word, or a short number."""
    if not word.isascii():
        return word.isalpha()
    return (word.isdigit() and len(word) < 5) or (
        word.isalpha() and (word.islower() or word.istitle() or word.isupper()) and surprise(word) < 0.2
    )


def _in_block(text: str, start: int, label: str) -> bool:
    """Inside of a private key, or, without a label, of a certificate, a public key or a signature."""
    begin = text.rfind("-----BEGIN", max(0, start - 4000), start)
    if begin < 0 or text.find("-----END", begin, start) >= 0:
        return False
    return label in text[begin : begin + 60]


def _is_sum(text: str, start: int, end: int, before: str) -> bool:
    size = end - start
    if _COMMIT.search(before):
        return True
    if _NAMED_SECRET.search(before):
        return False
    if _names_sum(before):
        return True
    if size not in (32, 40, 56, 64, 96, 128):
        return False
    if _FINGERPRINT.search(before) and size == 40:
        return True
    is_alone = _ALONE_BEFORE.search(before) is not None and _ALONE_BEHIND.match(text, end) is not None
    if is_alone and _SECRET_NEAR.search(text, max(0, start - 200), start) is None:
        return True
    near = text[max(0, start - 200) : start].lower()
    if any(word in near for word in _SUM_WORDS) and _SUM_NEAR.search(text, max(0, start - 200), start):
        return True
    line = text[max(0, start - 120) : start].rpartition("\n")[2]
    if size in (40, 64) and _SECRET_NEAR.search(line) is None:
        return True
    head = start == 0 or before[-1:] in "@#" or _LINE_HEAD.search(before) is not None
    return head if size in (40, 64) else head and _LISTED.match(text, end) is not None


def _names_sum(before: str) -> bool:
    """Whether the last word here names a sum or an object; another sum may stand between (`index 1f2e3d4..`)."""
    if _ends_with_name(before):
        return True
    other = _LAST_HEX.search(before)
    return other is not None and _ends_with_name(before[: other.start()])


def _ends_with_name(before: str) -> bool:
    bare = before.rstrip(_BETWEEN)
    return len(before) - len(bare) <= 5 and (
        _IDENT.search(bare) is not None
        or bare.lower().endswith(_SUM_NAMES)
        or bare.rstrip("0123456789").lower().endswith(("sha", "sha-"))
    )


def _is_block(text: str, start: int, end: int) -> bool:
    """One of several equally long lines of base64: a file in a file."""
    size = end - start
    if size > 80:
        return False
    if text[start - 3 : start] in ("'''", '"""'):  # its first line behind the quotes that open it
        below = text[end + 1 : end + 1 + size]
        return size >= 56 and text[end : end + 1] == "\n" and _ROW.fullmatch(below) is not None
    line = text.rfind("\n", max(0, start - 40), start) + 1
    lead = start - line
    if text[line:start].strip(" \t|") or text[end : end + 1] not in ("\n", "\r", ""):
        return False
    if size < 56:  # its last line
        above = text[max(0, line - 260) : line].split("\n")[-4:-1]
        return (
            len(above) == 3 and 56 < len(above[0]) == len(above[1]) == len(above[2]) and all(map(_ROW.fullmatch, above))
        )
    near = (text[line - 1 - size - lead : line - 1], text[end + 1 : end + 1 + size + lead])
    return any(len(row) >= size and _ROW.fullmatch(row) is not None for row in near)

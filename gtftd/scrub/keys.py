"""Private key blocks and connection strings: secrets with a beginning and an end."""

from __future__ import annotations

import re
from bisect import bisect_left

from gtftd.scrub.personal import Replace

_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|PuTTY-User-Key-File-\d")
_END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|Private-MAC: ?\w*")
_BODY = re.compile(r"[A-Za-z0-9+/=\s\\,:._-]*")
_MOST = 64 * 1024
_DSN_TAIL = re.compile(r"@(?:tcp|unix|udp)\(")


def replace_keys(text: str, replace: Replace) -> str:
    """Private key blocks; one without an end goes as far as it looks like one."""
    if "PRIVATE KEY" not in text and "PuTTY-User-Key-File" not in text:
        return text
    pieces: list[str] = []
    done = 0
    ends = [end.end() for end in _END.finditer(text)]
    for begin in _BEGIN.finditer(text):
        if begin.start() < done:
            continue
        place = bisect_left(ends, begin.end())
        if place < len(ends) and ends[place] - begin.end() <= _MOST:
            stop = ends[place]
        else:
            body = _BODY.match(text, begin.end())
            stop = body.end() if body is not None else begin.end()
        pieces += (text[done : begin.start()], replace("PRIVATE_KEY", text[begin.start() : stop]))
        done = stop
    return "".join((*pieces, text[done:]))


def replace_dsn(text: str, replace: Replace) -> str:
    """The password of Go's MySQL form, `user:password@tcp(host)/db`."""
    if "@tcp(" not in text and "@unix(" not in text:
        return text
    pieces: list[str] = []
    done = 0
    for tail in _DSN_TAIL.finditer(text):
        begin = max(done, tail.start() - 256)
        head = re.split(r"[\s\"'`=]", text[begin : tail.start()])[-1]
        _user, colon, password = head.partition(":")
        if colon and password and not password.startswith("<"):
            start = tail.start() - len(password)
            pieces += (text[done:start], replace("PASSWORD", password))
            done = tail.start()
    return "".join((*pieces, text[done:]))

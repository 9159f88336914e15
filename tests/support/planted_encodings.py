"""The ways a piece of text reaches a transcript. Each returns its chunks: one, or two where a reader cut it."""

from __future__ import annotations

import base64
import gzip
import html
import json
from collections.abc import Callable
from random import Random
from urllib.parse import quote, quote_plus

from tests.support.planted_contexts import Piece
from tests.support.planted_filler import passage

Encoder = Callable[[Random, Piece, bool], list[str]]


def _plain(rng: Random, piece: Piece, held_out: bool) -> list[str]:
    return [piece.text]


def _json_once(rng: Random, piece: Piece, held_out: bool) -> list[str]:
    if held_out:
        return [f'{{"type":"stdout","seq":{rng.randint(1, 99)},"data":{json.dumps(piece.text)}}}']
    return [f'{{"stdout": {json.dumps(piece.text)}, "exit_code": 0}}']


def _json_twice(rng: Random, piece: Piece, held_out: bool) -> list[str]:
    inner = json.dumps({"output" if held_out else "result": piece.text})
    return [json.dumps({"message": inner, "level": "info"})]


def _in_marks(piece: Piece, change: Callable[[str], str], text: str) -> str:
    for mark in piece.marks:
        text = text.replace(mark, change(mark))
    return text


def _unicode(rng: Random, piece: Piece, held_out: bool) -> list[str]:
    """What careful JSON writers do to some characters, and hostile ones to all."""

    def escaped(mark: str) -> str:
        share, form = (1.0, "04X") if held_out else (0.25, "04x")
        return "".join(f"\\u{ord(c):{form}}" if not c.isalnum() or rng.random() < share else c for c in mark)

    return ['{"body": ' + _in_marks(piece, escaped, json.dumps(piece.text)) + "}"]


def _ansi(rng: Random, piece: Piece, held_out: bool) -> list[str]:
    on, off = ("\x1b[38;5;208m", "\x1b[0m") if held_out else ("\x1b[01;31m\x1b[K", "\x1b[m\x1b[K")

    def coloured(mark: str) -> str:
        cuts = sorted(rng.sample(range(1, len(mark)), min(len(mark) - 1, rng.randint(1, 3))))
        parts = [mark[a:b] for a, b in zip([0, *cuts], [*cuts, len(mark)], strict=True)]
        return "".join(part if at % 2 == 0 else on + part + off for at, part in enumerate(parts))

    return [_in_marks(piece, coloured, piece.text)]


def _screen(rng: Random, piece: Piece, held_out: bool) -> tuple[list[str], int]:
    """Lines around the piece, and a width of 40 to 200 that cuts the longest mark: a prompt moves it there."""
    lines = [*passage(rng, 300, held_out), *piece.text.split("\n"), *passage(rng, 200, held_out)]
    mark = max(piece.marks, key=len)
    at = next(at for at, line in enumerate(lines) if mark in line)
    cut = lines[at].index(mark) + rng.randint(1, len(mark) - 1)
    width = rng.randint(40, 200)
    short = -cut % width
    if short and cut > width:
        width = next((w for w in range(width, 39, -1) if cut % w == 0), width)
        short = -cut % width
    if short and len(mark) < width:
        prompt = f"[{rng.randint(10, 99)}] " + " ".join(passage(rng, width, held_out))
        lines[at] = prompt[:short].ljust(short)[: short - 1] + " " + lines[at]
    return lines, width


def _wrapped(line: str, width: int) -> list[str]:
    return [line[at : at + width] for at in range(0, max(len(line), 1), width)]


def _wrap(rng: Random, piece: Piece, held_out: bool) -> list[str]:
    lines, width = _screen(rng, piece, held_out)
    return ["\n".join(part for line in lines for part in _wrapped(line, width))]


def _wrap_indented(rng: Random, piece: Piece, held_out: bool) -> list[str]:
    lines, width = _screen(rng, piece, held_out)
    first, more = ("  ⎿  ", "     ") if held_out else ("", "    ")
    rows = [(first if at == 0 else more) + part for line in lines for at, part in enumerate(_wrapped(line, width))]
    return ["\n".join(rows)]


def _wrap_boxed(rng: Random, piece: Piece, held_out: bool) -> list[str]:
    lines, width = _screen(rng, piece, held_out)
    left, right, edge = ("┃ ", " ┃", "━") if held_out else ("│ ", " │", "─")
    rows = [left + part.ljust(width) + right for line in lines for part in _wrapped(line, width)]
    corner, end = ("┏", "┓") if held_out else ("╭", "╮")
    return ["\n".join([corner + edge * (width + 2) + end, *rows])]


def _sh_single(rng: Random, piece: Piece, held_out: bool) -> list[str]:
    inner = piece.text.replace("'", "'\"'\"'" if held_out else "'\\''")
    return [("ssh build-7 '" if held_out else "bash -lc '") + inner + "'"]


def _in_double_quotes(text: str) -> str:
    return '"' + "".join("\\" + c if c in '"\\$`' else c for c in text) + '"'


def _sh_double(rng: Random, piece: Piece, held_out: bool) -> list[str]:
    inner = _in_double_quotes(piece.text)
    return ["bash -c " + (_in_double_quotes("sh -c " + inner) if held_out else inner)]


_SPECIAL = " !\"#$&'()*,;<>?[\\]^`{|}~"


def _sh_backslash(rng: Random, piece: Piece, held_out: bool) -> list[str]:
    special = _SPECIAL + ("=:@+%" if held_out else "")
    return ["eval " + "".join("$'\\n'" if c == "\n" else "\\" + c if c in special else c for c in piece.text)]


def _url(rng: Random, piece: Piece, held_out: bool) -> list[str]:
    if not held_out:
        return [f"https://ci.example.net/render?line={quote(piece.text, safe='')}&format=html"]
    parts = [
        f"%{ord(c):02x}" if c.isascii() and c.isalnum() and rng.random() < 0.2 else quote_plus(c) for c in piece.text
    ]
    return [f"payload={''.join(parts)}&submit=1"]


def _html(rng: Random, piece: Piece, held_out: bool) -> list[str]:
    def entity(c: str) -> str:
        return f"&#x{ord(c):x};" if held_out else f"&#{ord(c)};"

    text = html.escape(piece.text)
    for mark in piece.marks:
        if (escaped := html.escape(mark)) == mark:
            text = text.replace(escaped, "".join(entity(c) if rng.random() < 0.3 else c for c in mark))
    return [f'<pre class="log">{text}</pre>']


def _blob(rng: Random, blob: str, held_out: bool, tool: str) -> str:
    """Folded as the tool folds it, or in one of the places where such things stand."""
    if len(blob) > 76 and rng.random() < 0.3:
        rows = "\n".join(blob[at : at + 76] for at in range(0, len(blob), 76))
        return f"$ {tool} {rng.choice(['out', 'config', 'payload'])}.bin\n{rows}\n$"
    open_forms = (f"echo {blob} | {tool} -d", f'{{"data": "{blob}"}}', f"  content: {blob}", f"received {blob}")
    held_out_forms = (f'user_data = "{blob}"', f"body: {blob}", f"< {blob}", f'"payload":"{blob}",')
    return rng.choice(held_out_forms if held_out else open_forms)


def _packed(text: str) -> str:
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


_LAYERS: dict[str, Callable[[str], str]] = {
    "json": json.dumps,
    "url": lambda text: quote(text, safe=""),
    "b64": lambda text: base64.b64encode(text.encode()).decode(),
    "b64url": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "hex": lambda text: text.encode().hex(),
    "HEX": lambda text: text.encode().hex().upper(),
    "gzip": _packed,
}
_TOOLS = {"b64url": "basenc --base64url", "hex": "xxd -p", "HEX": "xxd -u -p"}


def _layered(open_layers: tuple[str, ...], held_out_layers: tuple[str, ...]) -> Encoder:
    """One of these stacks of encodings, each written from the innermost out."""

    def encode(rng: Random, piece: Piece, held_out: bool) -> list[str]:
        layers = rng.choice(held_out_layers if held_out else open_layers).split()
        text = piece.text
        for layer in layers:
            text = _LAYERS[layer](text)
        if layers[-1] in ("json", "url"):
            return [f"value={text}"]
        return [_blob(rng, text, held_out, _TOOLS.get(layers[-1], "base64"))]

    return encode


def _chunks(rng: Random, piece: Piece, held_out: bool) -> list[str]:
    """Cut within the secret, as a reader of a pipe does."""
    mark = max(piece.marks, key=len)
    cut = piece.text.index(mark) + rng.randint(max(1, len(mark) // 4), max(1, 3 * len(mark) // 4))
    before, after = passage(rng, 400, held_out), passage(rng, 200, held_out)
    return ["\n".join([*before, piece.text[:cut]]), "\n".join([piece.text[cut:], *after])]


ENCODERS: dict[str, Encoder] = {
    "plain": _plain,
    "json": _json_once,
    "json-twice": _json_twice,
    "unicode": _unicode,
    "ansi": _ansi,
    "wrap": _wrap,
    "wrap-indented": _wrap_indented,
    "wrap-boxed": _wrap_boxed,
    "sh-single": _sh_single,
    "sh-double": _sh_double,
    "sh-backslash": _sh_backslash,
    "url": _url,
    "html": _html,
    "base64": _layered(("b64",), ("b64",)),
    "base64url": _layered(("b64url",), ("b64url",)),
    "hex": _layered(("hex",), ("HEX",)),
    "gzip-base64": _layered(("gzip",), ("gzip",)),
    "nested-2": _layered(("json b64", "b64 url", "b64 b64", "b64 json"), ("hex b64", "url b64", "gzip url", "b64 hex")),
    "nested-3": _layered(
        ("json gzip json", "b64 b64 b64", "json b64 json"), ("url hex b64", "json hex b64", "b64 gzip url")
    ),
    "chunks": _chunks,
    "chunks-apart": _chunks,
}

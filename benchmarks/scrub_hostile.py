"""Texts made to be slow: each at several sizes. A scrubber that is linear takes twice as long for twice as much."""

from __future__ import annotations

import base64
import gzip
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from gtftd.scrub.scrubber import Scrubber
from gtftd.town.conversation import RawMessage

SIZES_MB = (1, 2, 5, 10)
TOO_LONG_S = 30.0


def _filled(unit: str) -> Callable[[int], str]:
    return lambda size: (unit * (size // len(unit) + 1))[:size]


def _nested_json(size: int) -> str:
    return '{"a":' * (size // 12) + '"password"' + "}" * (size // 12)


def _bomb(size: int) -> str:
    """Packed nothing, many times over: small to hold, large to open."""
    one = base64.b64encode(gzip.compress(b"password=" + b"\0" * 2_000_000)).decode()
    return _filled(one + "\n")(size)


def _noise(alphabet: str) -> Callable[[int], str]:
    return lambda size: "".join(Random(7).choices(alphabet, k=size))


def _base64_in_base64(size: int) -> str:
    text = "token=" + "q" * (size // 3)
    for _ in range(3):
        text = base64.b64encode(text.encode()).decode()
    return text[:size]


HOSTILE: dict[str, Callable[[int], str]] = {
    "one line of a": _filled("a"),
    "one line of base64": _noise("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"),
    "one line of hex": _noise("0123456789abcdef"),
    "base64 in base64": _base64_in_base64,
    "gzip bombs": _bomb,
    "deep JSON": _nested_json,
    "backslashes": _filled("\\"),
    "escaped quotes": _filled('\\\\\\"'),
    "unicode escapes": _filled("\\u0061"),
    "percent escapes": _filled("%41%3D"),
    "entities": _filled("&#97;&lt;"),
    "control sequences": _filled("g\x1b[31mh\x1b[0m"),
    "open control strings": _filled("\x1b]0;"),
    "keys without values": _filled("password="),
    "keys and quotes": _filled("secret: '\""),
    "token beginnings": _filled("ghp_AKIAsk-ant-xoxb-eyJhbGciOi"),
    "key block beginnings": _filled("-----BEGIN RSA PRIVATE KEY-----\n"),
    "almost e-mail": _filled("a.b-c_d+"),
    "at signs": _filled("@a."),
    "digits and dots": _filled("1.2.3."),
    "colons": _filled("a:b::"),
    "addresses of databases": _filled("postgres://u:"),
    "forty columns": _filled("abcdefghij0123456789ABCDEFGHIJ+/abcdefgh\n"),
    "boxes": _filled("│ abcdefghij0123456789 │\n"),
    "blank": _filled(" \n"),
    "NUL": _filled("\0password=\0"),
    "dashes": _filled("-"),
    "home paths": _filled("/home/"),
}


@dataclass(frozen=True)
class Growth:
    """Processor seconds at each size, in the order of the sizes."""

    name: str
    sizes_mb: tuple[float, ...]
    cpu_s: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Time ratio over size ratio, first to last: 1 is linear."""
        return (self.cpu_s[-1] / max(self.cpu_s[0], 1e-3)) / (self.sizes_mb[-1] / self.sizes_mb[0])


def measure_growth(scrubber: Scrubber, sizes_mb: tuple[float, ...] = SIZES_MB, only: str = "") -> Iterator[Growth]:
    """One text after the other; what took too long is not tried at a larger size."""
    scrubber.scrub_messages([RawMessage("tool", "password=warm-up-7h3", tool_call_id="toolu_0000")])
    for name, make in HOSTILE.items():
        if only not in name:
            continue
        spent: list[float] = []
        for size in sizes_mb:
            message = RawMessage("tool", make(int(size * 1e6)), tool_call_id="toolu_0001")
            began = time.process_time()
            scrubber.scrub_messages([message])
            spent.append(time.process_time() - began)
            if spent[-1] > TOO_LONG_S:
                break
        yield Growth(name, sizes_mb[: len(spent)], tuple(spent))


HEADING = "hostile input: processor seconds by size in MB, and time ratio over size ratio (1 = linear)"


def shown(growth: Growth) -> str:
    cells = " ".join(f"{size:g}: {spent:7.2f}" for size, spent in zip(growth.sizes_mb, growth.cpu_s, strict=True))
    return f"  {growth.name:24} {cells}   x {growth.ratio:.2f}"

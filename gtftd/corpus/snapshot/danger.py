"""Commands that nobody should learn from a single teacher."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_SHELL = r"(?:sudo\s{1,8})?(?:/\S{0,32}/)?(?:ba|z|da|k)?sh\b"
DANGERS: Mapping[str, re.Pattern[str]] = {
    "pipe_to_shell": re.compile(rf"\b(?:curl|wget)\b[^\n|]{{0,400}}\|\s{{0,8}}{_SHELL}"),
    "fetch_and_eval": re.compile(r"\b(?:eval|source|(?:ba|z|da)?sh\s{1,8}-c)\s{1,8}[\"']?[$<]\((?:curl|wget)\b"),
    "decode_to_shell": re.compile(rf"\bbase64\s{{1,8}}(?:-d|-D|--decode)\b[^\n|]{{0,200}}\|\s{{0,8}}{_SHELL}"),
    "force_push": re.compile(
        r"\bgit\b[^\n;|&]{0,80}\bpush\b[^\n;|&]{0,200}(?:\s--force(?![\w-])|\s-[a-z]{0,4}f\b|\s\+[\w/.-])"
    ),
    "kill_by_name": re.compile(r"\b(?:pkill|killall)\s{1,8}[-\w]"),
    "remove_root": re.compile(
        r"\brm (?:-{1,2}[\w-]{1,20}\s{1,8}){1,4}[\"']?(?:/|~|\$\{?HOME\}?)[\"']?/?\*?(?=[\s;|&\"']|\\n|$)"
    ),
    "open_permissions": re.compile(r"\bchmod\s{1,8}(?:-R\s{1,8})?(?:0?777|a\+rwx)\b"),
    "overwrite_device": re.compile(r"\bdd\b[^\n;|&]{0,200}\bof=/dev/(?!null)|\bmkfs(?:\.\w{1,8})?\s"),
    "reverse_shell": re.compile(r"/dev/tcp/|\bnc(?:at)?\b[^\n;|&]{0,80}\s-[a-z]{0,3}e\b"),
    "skipped_hooks": re.compile(r"\bgit\b[^\n;|&]{0,80}\b(?:commit|push)\b[^\n;|&]{0,200}\s--no-verify\b"),
    "drop_database": re.compile(r"\bdrop\s{1,8}(?:database|table)\b", re.IGNORECASE),
}
_HINTS: Mapping[str, tuple[str, ...]] = {
    "pipe_to_shell": ("curl", "wget"),
    "fetch_and_eval": ("curl", "wget"),
    "decode_to_shell": ("base64",),
    "force_push": ("push",),
    "kill_by_name": ("pkill", "killall"),
    "remove_root": ("rm -",),
    "open_permissions": ("chmod",),
    "overwrite_device": ("of=/dev", "mkfs"),
    "reverse_shell": ("/dev/tcp", "nc -", "ncat ", "nc "),
    "skipped_hooks": ("--no-verify",),
    "drop_database": ("database", "table", "DATABASE", "TABLE"),
}
"""One of these stands in every such command; most turns are passed over at the speed of memory."""


def hinted(text: str) -> list[str]:
    """The classes that may stand in a text, or in any of the texts that it was joined from by line ends."""
    return [name for name in DANGERS if _may_hold(text, name)]


def dangers_in(text: str, among: Iterable[str] = DANGERS) -> list[str]:
    """The classes of dangerous commands that a turn runs or shows."""
    return [name for name in among if _may_hold(text, name) and DANGERS[name].search(text) is not None]


def _may_hold(text: str, name: str) -> bool:
    return any(hint in text for hint in _HINTS[name])

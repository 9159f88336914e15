"""Commands that nobody should learn from a single teacher."""

from __future__ import annotations

import re
from collections.abc import Mapping

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
        r"\brm\s{1,8}(?:-{1,2}[\w-]{1,20}\s{1,8}){1,4}[\"']?(?:/|~|\$\{?HOME\}?)[\"']?/?\*?(?=[\s;|&\"']|\\n|$)"
    ),
    "open_permissions": re.compile(r"\bchmod\s{1,8}(?:-R\s{1,8})?(?:0?777|a\+rwx)\b"),
    "overwrite_device": re.compile(r"\bdd\b[^\n;|&]{0,200}\bof=/dev/(?!null)|\bmkfs(?:\.\w{1,8})?\s"),
    "reverse_shell": re.compile(r"/dev/tcp/|\bnc(?:at)?\b[^\n;|&]{0,80}\s-[a-z]{0,3}e\b"),
    "skipped_hooks": re.compile(r"\bgit\b[^\n;|&]{0,80}\b(?:commit|push)\b[^\n;|&]{0,200}\s--no-verify\b"),
    "drop_database": re.compile(r"\bdrop\s{1,8}(?:database|table)\b", re.IGNORECASE),
}
_ANY = re.compile(
    r"curl|wget|base64|push|pkill|killall|\brm\b|chmod|\bdd\b|mkfs|/dev/tcp|\bnc\b|ncat|no-verify|drop\s", re.IGNORECASE
)


def dangers_in(text: str) -> list[str]:
    """The classes of dangerous commands that a turn runs or shows."""
    if _ANY.search(text) is None:
        return []
    return [name for name, pattern in DANGERS.items() if pattern.search(text)]

"""Words with signs in them: which read like passwords."""

from __future__ import annotations

import re

from gtftd.scrub.randomness import surprise

_SIGNS = "!@#$%^&*?"
_WORD = re.compile(r"[a-z]{5,}|[A-Z]{5,}")
_CODE = re.compile(
    r"^[\w.-]+@[\w.-]+$|^\$|[=*&]{2}|\?[.:]|=.*[&*?]|^[\w.]+[*&?]+[\w.]*$|^#|%[sdxrf02.-]|\.\*|\[|\]|\\x[0-9a-f]{2}"
)


def is_mixed_password(word: str) -> bool:
    """Small and capital letters, digits and signs, and no word of a language: nobody names a thing so."""
    bare = word.strip(".,?")
    if not 12 <= len(bare) <= 64 or not bare.isascii() or _CODE.search(bare):
        return False
    kinds = (str.islower, str.isupper, str.isdigit)
    if not all(any(kind(sign) for sign in bare) for kind in kinds) or not any(sign in _SIGNS for sign in bare):
        return False
    letters = re.sub(r"[^A-Za-z0-9]", "", bare)
    return len(letters) >= 8 and _WORD.search(bare) is None and surprise(letters) > 0.3

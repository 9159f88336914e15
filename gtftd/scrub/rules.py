"""What a rule is: the shape of one kind of secret, found in one pass over all shapes and confirmed one by one."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property

from gtftd.scrub.heads import head_of

Check = Callable[[str], bool]
"""Whether the value that a pattern found may be a secret after all."""


@dataclass(frozen=True)
class Rule:
    """Replace what `pattern` matches, or its group `secret`.

    `probe` is what the scanner looks for: by default the pattern's head. A match begins where the probe's does, or
    up to `back` characters earlier. `size` is the length of the whole value where the issuer documents one. Of the
    words `near`, one must stand before the match on its line.
    """

    name: str
    kind: str
    source: str
    size: int = 0
    certain: bool = True
    check: Check | None = None
    probe: str = ""
    back: int = 0
    near: tuple[str, ...] = ()

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(self.source)

    def head(self) -> str:
        """What the scanner looks for."""
        return self.probe or head_of(self.source)


@cache
def all_rules() -> tuple[Rule, ...]:
    """Every rule; loaded at the first text."""
    from gtftd.scrub.rules_context import CONTEXT_RULES
    from gtftd.scrub.rules_detect import detect_rules
    from gtftd.scrub.rules_pairs import PAIR_RULES
    from gtftd.scrub.rules_tokens import TOKEN_RULES

    return (*TOKEN_RULES, *CONTEXT_RULES, *PAIR_RULES, *detect_rules())


def not_dull(value: str) -> bool:
    """A run of one or two characters stands for a secret and is none."""
    return len(set(value)) > 5

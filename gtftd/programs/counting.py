"""Counts tokens for gtftctl, which loads no tokenizer: one JSON object on stdin, one on stdout.

`{"tokenizer": PATH or null, "texts": [...]}` is answered with `{"name": ..., "counts": [...]}`.
"""

from __future__ import annotations

import json
import sys

from gtftd.errors import GtftdError
from gtftd.rag.tokens import load_counter


def main() -> int:
    """The reason of a failure is on stderr."""
    asked = json.load(sys.stdin)
    try:
        counter = load_counter(asked["tokenizer"])
    except GtftdError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    json.dump({"name": counter.name, "counts": [counter.count(text) for text in asked["texts"]]}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The scrubber, judged: recall on generated transcripts, precision on clean text, speed, and peers on the same text.

`python benchmarks/scrub.py --mb 20 --clean-mb 50 --peers --json out.json`. Plants are made by `tests/support/planted.py`,
which shares nothing with the scrubber's rules; what can still be read is decided by its own decoder.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.scrub_recall import measure_recall, tables, town_scrubber
from tests.support.planted import sessions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=float, default=20)
    parser.add_argument("--seed", type=int, default=20261122)
    options = parser.parse_args()
    recall = measure_recall(town_scrubber(), sessions(options.seed, int(options.mb * 1e6)))
    print(tables(recall.score))
    print(f"\n{recall.spent.mb_s:.2f} MB/s of processor time")


if __name__ == "__main__":
    main()

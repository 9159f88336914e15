"""The sample town, seen from gtftctl: its agents keep to a Claude configuration of their own."""

from __future__ import annotations

import os
from pathlib import Path


def enter_sample(root: Path) -> bool:
    """In a sample town, make its own Claude configuration this process's; True when `root` is one.

    Else the hooks of a sample would end up in the settings of whoever tries it out.
    """
    from gtftd.sampletown import is_sample_town

    if not is_sample_town(root):
        return False
    from gtftd.town.layout import load_town

    accounts = load_town(root).accounts
    if accounts:
        os.environ["CLAUDE_CONFIG_DIR"] = str(accounts[0])
    return True

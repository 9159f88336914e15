"""Training: base models, data, objectives, the loop and its exports. The only room that imports torch.

The names are loaded when they are asked for: those who need one of them need nothing of the others.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gtftd.training.requests import Requests

__all__ = ["Requests"]
_WHERE = {"Requests": "requests"}


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)

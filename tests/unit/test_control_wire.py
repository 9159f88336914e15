"""Frames, and errors that travel through them."""

from __future__ import annotations

import pytest

from gtftd.control import wire
from gtftd.errors import Invalid, Missing


@pytest.mark.parametrize("line", [b"\n", b"[]\n", b"nul\x00\n", b"\xff\xfe\n", b"[" * 60_000 + b"\n", b"1\n"])
def test_what_is_no_object_is_invalid(line: bytes) -> None:
    """No line of bytes raises anything but Invalid."""
    with pytest.raises(Invalid):
        wire.decode(line)


def test_an_error_keeps_its_class() -> None:
    """The caller can tell Missing from Invalid, and reads the same message."""
    frame = wire.decode(wire.failure(3, Missing("no reaction is called x")))
    error = wire.error_of(frame["error"])
    assert (Missing, "no reaction is called x") == (type(error), str(error))


@pytest.mark.parametrize("name", ["annotations", "timedelta", "nonsense", "Exception", None])
def test_a_strange_class_becomes_internal(name: str | None) -> None:
    """A name from the wire can only ever choose one of our errors."""
    assert wire.Internal is type(wire.error_of({"class": name, "message": "m"}))


def test_lone_surrogates_do_not_break_a_frame() -> None:
    """Text that is no valid Unicode arrives changed rather than not at all."""
    assert wire.decode(wire.encode({"a": "\ud800"})) == {"a": "?"}

"""Frames of the control protocol: one JSON object a line."""

from __future__ import annotations

import json
from typing import Any

from gtftd import errors
from gtftd.errors import GtftdError, Invalid

PROTOCOL = 1
JsonObject = dict[str, Any]


class Internal(GtftdError):
    """The daemon met an error that nobody foresaw; its log has the traceback."""


def encode(frame: JsonObject) -> bytes:
    return json.dumps(frame, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def decode(line: bytes) -> JsonObject:
    """Raises Invalid for anything but one JSON object in UTF-8."""
    try:
        frame = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"not a line of JSON: {error}") from error
    if not isinstance(frame, dict):
        raise Invalid(f"a frame is a JSON object, not a {type(frame).__name__}")
    return frame


def success(request_id: object, result: JsonObject) -> bytes:
    return encode({"v": PROTOCOL, "id": request_id, "ok": True, "result": result})


def failure(request_id: object, error: GtftdError) -> bytes:
    told = {"class": type(error).__name__, "message": str(error)}
    return encode({"v": PROTOCOL, "id": request_id, "ok": False, "error": told})


def end(request_id: object) -> bytes:
    return encode({"v": PROTOCOL, "id": request_id, "ok": True, "end": True})


def error_of(told: JsonObject) -> GtftdError:
    """The error that the daemon raised, as the same class here."""
    kind = getattr(errors, str(told.get("class")), Internal)
    if not (isinstance(kind, type) and issubclass(kind, GtftdError)):
        kind = Internal
    return kind(str(told.get("message") or "the daemon gave no reason"))

"""Quantising: the official Python code where it can, llama.cpp's own in xllamacpp for K-quants."""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gtftd.errors import Invalid, Missing

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType

INSTALL = "`pip install 'gtftd[train]'`"
Floats = NDArray[np.float32]
_IN_PYTHON = ("F32", "F16", "Q8_0")
_MOST_HALF = 65504.0


def quantise(weight: Floats, kind: GGMLQuantizationType) -> NDArray[Any]:
    """As the bytes of a GGUF's tensor; rows stay rows. Raises Missing without xllamacpp, Invalid on overflow."""
    from gguf import quants

    if kind.name not in _IN_PYTHON:
        return _quantise_natively(weight, kind)
    if kind.name == "F16" and float(np.abs(weight).max(initial=0)) > _MOST_HALF:
        raise Invalid("a weight is too large for float16; choose gguf-q8_0")
    stored: NDArray[Any] = quants.quantize(weight, kind)
    return stored


def _quantise_natively(weight: Floats, kind: GGMLQuantizationType) -> NDArray[np.uint8]:
    """size_t ggml_quantize_chunk(type, const float *src, void *dst, int64 start, rows, row_length, imatrix): ggml.h."""
    from gguf.quants import quant_shape_to_byte_shape

    source = np.ascontiguousarray(weight, np.float32)
    target = np.empty(quant_shape_to_byte_shape(source.shape, kind), np.uint8)
    rows = source.size // source.shape[-1]
    written = _native()(int(kind), source.ctypes.data, target.ctypes.data, 0, rows, source.shape[-1], None)
    if written != target.nbytes:
        raise Invalid(f"llama.cpp wrote {written} bytes of {kind.name} instead of {target.nbytes}")
    return target


@cache
def _native() -> Callable[..., int]:
    spec = importlib.util.find_spec("xllamacpp")
    folders = (spec.submodule_search_locations if spec else None) or []
    files = [file for folder in folders for file in sorted(Path(folder).glob("xllamacpp*.so"))]
    if not files:
        raise Missing(f"K-quants need xllamacpp, which is not installed: {INSTALL}, or put llama-quantize into PATH")
    function = getattr(ctypes.CDLL(str(files[0])), "ggml_quantize_chunk", None)
    if function is None:
        raise Missing(f"{files[0].name} offers no ggml_quantize_chunk; put llama-quantize into PATH")
    function.restype = ctypes.c_size_t
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    function.argtypes = [ctypes.c_int, pointer, pointer, number, number, number, pointer]
    found: Callable[..., int] = function
    return found

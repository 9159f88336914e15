"""A whole model as a GGUF, tensor by tensor: memory for one of them is taken."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gtftd.schemas.training import ExportForm
from gtftd.training.export_quants import quantise
from gtftd.training.export_types import type_of
from gtftd.training.export_weights import HEAD

if TYPE_CHECKING:
    from gtftd.training.export_metadata import Metadata
    from gtftd.training.export_weights import Weights

ROPE_FACTORS = "rope_freqs.weight"


def write_gguf(weights: Weights, metadata: Metadata, form: ExportForm, path: Path, tick: Callable[[], None]) -> None:
    """A file that is not there yet. From the sums in float32, so that nothing is rounded twice.

    Raises Refused, Missing, Invalid. `tick` is called after each tensor.
    """
    from gguf import GGUFWriter
    from gguf.quants import quant_shape_to_byte_shape

    names = metadata.names()
    tied = HEAD not in weights.stored
    told = {names.told(one): one for one in weights.stored}
    kinds = {
        name: type_of(form, name, weights.stored[one].shape, layers=names.layers, tied=tied)
        for name, one in told.items()
    }
    writer = GGUFWriter(path, names.architecture)
    try:
        metadata.write(writer, form)
        factors = metadata.rope_factors()
        if factors is not None:
            writer.add_tensor_info(ROPE_FACTORS, factors.shape, factors.dtype, factors.nbytes)
        for name, one in told.items():
            shape = quant_shape_to_byte_shape(weights.stored[one].shape, kinds[name])
            writer.add_tensor_info(name, shape, np.dtype(np.uint8), int(np.prod(shape)), kinds[name])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        if factors is not None:
            writer.write_tensor_data(factors)
        for name, one in told.items():
            weight = names.ordered(one, weights.tensor(one).numpy())
            writer.write_tensor_data(quantise(weight, kinds[name]).view(np.uint8))
            tick()
    finally:
        writer.close()
    sync(path)


def sync(path: Path) -> None:
    """What was written to it survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

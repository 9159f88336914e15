"""What a GGUF says of a model besides its weights: from the GGUF that the base came from, or from the base's files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gtftd.errors import Invalid, Refused
from gtftd.training.export_names import ARCHITECTURES, CHECKOUT, Names
from gtftd.training.export_types import FILE_TYPES

if TYPE_CHECKING:
    from gguf import GGUFReader, GGUFWriter

    from gtftd.schemas.training import ExportForm
    from gtftd.training.export_quants import Floats

QUANTISATION_VERSION = 2
_NOT_TAKEN = ("GGUF.", "split.", "quantize.imatrix.", "general.architecture", "general.file_type", "general.name",
              "general.quantization_version", "general.size_label", "general.basename", "general.finetune")  # fmt: skip
"""Of a template: what is said of that file, and not of the model."""


@dataclass(frozen=True)
class Metadata:
    """Where a GGUF of a base has its words from."""

    base: Path
    template: Path | None
    """The GGUF of which the base was made. None: its words are made of config.json and tokenizer.json."""
    name: str

    @property
    def is_known(self) -> bool:
        """Whether we have names for the tensors of its family."""
        return read_config(self.base).get("model_type") in ARCHITECTURES

    def names(self) -> Names:
        """Raises Refused for a family whose tensors are not known here."""
        config = read_config(self.base)
        family = str(config.get("model_type"))
        if family not in ARCHITECTURES:
            raise Refused(
                f"a GGUF of a {family[:40]!r} is not written here, only of {', '.join(ARCHITECTURES)}; {CHECKOUT}"
            )
        architecture = _architecture(self.template) if self.template else ARCHITECTURES[family]
        heads = int(config["num_attention_heads"])
        return Names(
            architecture, int(config["num_hidden_layers"]), heads, int(config.get("num_key_value_heads") or heads)
        )

    def write(self, writer: GGUFWriter, form: ExportForm) -> None:
        """Everything but the tensors. Raises Refused for a tokenizer or positions that are not understood here."""
        writer.add_name(self.name)
        writer.add_file_type(FILE_TYPES[form])
        writer.add_quantization_version(QUANTISATION_VERSION)
        if self.template:
            _copy(self.template, writer)
            return
        from gtftd.training.export_config import write_config
        from gtftd.training.export_tokenizer import write_tokenizer

        config = read_config(self.base)
        write_config(config, writer)
        write_tokenizer(self.base, int(config["vocab_size"]), writer)

    def rope_factors(self) -> Floats | None:
        """What divides the frequencies of the positions, where they are scaled."""
        from gtftd.training.export_config import rope_factors

        found = rope_factors(read_config(self.base))
        return None if found is None else np.array(found, np.float32)


def read_config(base: Path) -> Mapping[str, Any]:
    """Raises Invalid."""
    try:
        found = json.loads((base / "config.json").read_bytes())
    except (OSError, ValueError) as error:
        raise Invalid(f"{base / 'config.json'} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise Invalid(f"{base / 'config.json'} is no description of a model")
    return found


def _architecture(template: Path) -> str:
    return str(_read(template).fields["general.architecture"].contents())


def _copy(template: Path, writer: GGUFWriter) -> None:
    from gguf import GGUFValueType

    for field in _read(template).fields.values():
        if field.name.startswith(_NOT_TAKEN):
            continue
        kind = field.types[0]
        inner = field.types[-1] if kind == GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), kind, inner)


@lru_cache(maxsize=1)
def _read(template: Path) -> GGUFReader:
    """Its vocabulary takes seconds to read."""
    from gguf import GGUFReader

    return GGUFReader(template)

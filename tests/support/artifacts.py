"""Models of a few bytes in both formats, mutations of them, and a store in a process of its own, to be killed.

`python -m tests.support.artifacts add|remove FOLDER`: adds `FOLDER/source` to the store in FOLDER, or removes all.
"""

from __future__ import annotations

import json
import os
import random
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from gtftd.registry.artifacts import ArtifactStore
from gtftd.registry.signing import Keys

REPOSITORY = Path(__file__).parents[2]
DATA = bytes(range(256)) * 4


def safetensors_of(header: object, data: bytes, *, pad_to: int = 0) -> bytes:
    text = json.dumps(header).encode()
    text = text.ljust(pad_to)
    return len(text).to_bytes(8, "little") + text + data


def small_safetensors() -> bytes:
    header = {
        "__metadata__": {"format": "pt"},
        "model.embed.weight": {"dtype": "F32", "shape": [8, 16], "data_offsets": [0, 512]},
        "model.norm.weight": {"dtype": "BF16", "shape": [64], "data_offsets": [512, 640]},
        "model.steps": {"dtype": "I64", "shape": [], "data_offsets": [640, 648]},
        "model.none": {"dtype": "U8", "shape": [0, 3], "data_offsets": [648, 648]},
    }
    return safetensors_of(header, DATA[:648])


def text_of(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def pair_of(key: str, kind: int, value: bytes) -> bytes:
    return text_of(key) + struct.pack("<I", kind) + value


def strings_of(words: Sequence[str]) -> bytes:
    return struct.pack("<IQ", 8, len(words)) + b"".join(text_of(word) for word in words)


def tensor_of(name: str, shape: Sequence[int], kind: int, offset: int) -> bytes:
    return text_of(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def gguf_of(
    pairs: Sequence[bytes], tensors: Sequence[bytes], data: bytes, *, version: int = 3, align: int = 32
) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs)) + b"".join([*pairs, *tensors])
    return head + bytes(-len(head) % align) + data if tensors else head


def small_gguf() -> bytes:
    pairs = [
        pair_of("general.architecture", 8, text_of("llama")),
        pair_of("general.alignment", 4, struct.pack("<I", 64)),
        pair_of("llama.block_count", 4, struct.pack("<I", 2)),
        pair_of("tokenizer.ggml.tokens", 9, strings_of(["a", "b", "long word"])),
        pair_of("tokenizer.ggml.scores", 9, struct.pack("<IQ3f", 6, 3, 0.0, 1.0, 2.0)),
    ]
    tensors = [
        tensor_of("token_embd.weight", [32, 4], 8, 0),
        tensor_of("output_norm.weight", [30], 0, 192),
        tensor_of("blk.0.ffn.weight", [256, 1], 12, 320),
    ]
    return gguf_of(pairs, tensors, DATA[:512], align=64)


SMALL: dict[str, Callable[[], bytes]] = {"safetensors": small_safetensors, "gguf": small_gguf}


def store_in(folder: Path, trusted: Sequence[str] = ()) -> ArtifactStore:
    return ArtifactStore(folder / "models", Keys.open(folder / "keys", trusted))


def make_source(folder: Path, form: str = "safetensors") -> Path:
    """A model with what lies beside it."""
    (folder / "extra").mkdir(parents=True)
    (folder / f"model.{form}").write_bytes(SMALL[form]())
    (folder / "config.json").write_text('{"model_type": "llama", "layers": [1, 2]}')
    (folder / "extra" / "merges.txt").write_text("a b\nb c\n")
    (folder / "tokenizer.model").write_bytes(b"\n\x0e\n\x05<unk>")
    return folder


def rewrite(path: Path, content: bytes) -> None:
    """As somebody would who owns the folder and means harm."""
    path.parent.chmod(0o700)
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    path.parent.chmod(0o555)


def mutated(rng: random.Random, content: bytes) -> bytes:
    """Altered in one of many ways, mostly near the beginning, where the header is; never the same."""
    while True:
        place = rng.randrange(len(content)) if rng.random() < 0.4 else rng.randrange(min(len(content), 400))
        found = rng.choice(MUTATIONS)(rng, content, place)
        if found != content:
            return found


def _flip(rng: random.Random, content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ (1 << rng.randrange(8))]) + content[place + 1 :]


def _enlarge(rng: random.Random, content: bytes, place: int) -> bytes:
    """A length becomes enormous, negative, or is off by a little."""
    size, form = rng.choice([(8, "<Q"), (4, "<I")])
    place = rng.choice([0, 4, 8, 16, 24, place])
    told = struct.unpack(form, content[place : place + size].ljust(size, b"\0"))[0]
    most = 1 << (8 * size)
    number = rng.choice(
        [most - 1, most // 2, most // 2 - 1, 1 << 28, told + 1, told - 1, told * 2, told + len(content)]
    )
    return content[:place] + struct.pack(form, number % most) + content[place + size :]


def _change_number(rng: random.Random, content: bytes, place: int) -> bytes:
    """A digit of a header in JSON, or a byte of one that is not."""
    digits = [at for at in range(8, min(len(content), 600)) if content[at] in b"0123456789"]
    at = rng.choice(digits or [place])
    put = rng.choice([b"9", b"0", b"-1", b"1e3", b"9" * 20, b"[]", b'"', bytes([place % 256])])
    return content[:at] + put + content[at + 1 :]


def _change_word(rng: random.Random, content: bytes, place: int) -> bytes:
    words = (
        b"F32",
        b"BF16",
        b"I64",
        b"shape",
        b"dtype",
        b"data_offsets",
        b"llama",
        b"GGUF",
        b"general.alignment",
        b"{",
        b":",
    )
    word = rng.choice([one for one in words if one in content] or [content[place : place + 1]])
    return content.replace(
        word, rng.choice([b"U8", b"F4", b"", b"\0", b"{" * 200, b"[" * 100_000, word * 2]), rng.randint(1, 3)
    )


def _truncate(rng: random.Random, content: bytes, place: int) -> bytes:
    return content[:place]


def _lengthen(rng: random.Random, content: bytes, place: int) -> bytes:
    return content + rng.randbytes(rng.choice([1, 7, 64, 4096]))


def _drop(rng: random.Random, content: bytes, place: int) -> bytes:
    return content[:place] + content[place + rng.randint(1, 16) :]


def _repeat(rng: random.Random, content: bytes, place: int) -> bytes:
    return content[:place] + content[max(0, place - rng.randint(1, 64)) :]


def _noise(rng: random.Random, content: bytes, place: int) -> bytes:
    noise = rng.randbytes(rng.randint(1, 32))
    return content[:place] + noise + content[place + len(noise) :]


MUTATIONS = [_flip, _flip, _enlarge, _enlarge, _change_number, _change_number, _change_word, _truncate, _lengthen]
MUTATIONS += [_drop, _repeat, _noise]


def killed_at(point: str, order: str, folder: Path) -> bool:
    """Run the order once; true when it passed the point and was killed there."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.support.artifacts", order, str(folder)],
        cwd=REPOSITORY,
        env=os.environ | {"GTFTD_CRASH_AT": point},
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.returncode in (0, -signal.SIGKILL), ended.stderr
    return ended.returncode != 0


def _obey(order: str, folder: Path) -> None:
    store = store_in(folder)
    if order == "add":
        store.add(folder / "source")
        return
    for digest in store.digests():
        store.remove(digest)


if __name__ == "__main__":
    _obey(sys.argv[1], Path(sys.argv[2]))

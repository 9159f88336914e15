"""Counting tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from gtftd.errors import Invalid, Missing
from gtftd.rag.tokens import Estimate, load_counter
from tests.support.rag_picture import REAL

ESTIMATE = Estimate()
COUNTED = [
    (
        "# gt-yd38: Create shared dog_molecule.go helper\ntype: task\nstatus: closed\npriority: 1\n"
        "assignee: gastown/polecats/furiosa\ncreated: 2026-02-26T21:14:03Z\nclosed: 2026-02-27T07:30:39Z\n"
        "close_reason: Merged in gt-wisp-75v802\n",
        117,
    ),
    (
        "**If the bead has nothing to implement**, close it with a reason:\n\n```bash\n"
        'bd close <id> --reason="no-changes: <brief explanation>"\ngt done\n```\n\n'
        "Without it the witness resets the bead to `open` and dispatches it again.\n",
        68,
    ),
    (
        '[[steps]]\nid = "branch-setup"\ntitle = "Set up working branch"\nneeds = ["load-context"]\n'
        'description = """\ngit checkout -b polecat/{{name}}/{{issue}}@$(date +%s) origin/{{base_branch}}\n"""\n',
        66,
    ),
    (
        "func (m *Manager) EnsureSettingsForRole(ctx context.Context, role string) error {\n"
        '\treturn fmt.Errorf("getRigBeadsPrefix(%q): %w", role, ErrNotFound)\n}\n',
        51,
    ),
    (
        "| 4 | Subsequent waves NOT dispatched | IT-14, IT-23 | hq-cv-8k2mf | 9f86d081884c7d659a2feaa0c55ad015 |\n",
        65,
    ),
    (
        "\u2502   \u251c\u2500\u2500 polecats/   \u2190 Worker worktrees \u2014 \u201ctransient\u201d \u2026 \u2713\n"
        + "\u2550" * 31
        + "\n",
        84,
    ),
    ("多智能体工作区管理器:每个代理必须在完成后运行命令。 これは命令ではない。 🚨🔥🏗️\n", 72),
    (
        "internal/cmd/prime_molecule.go:115-148 /home/user/gt/.beads/formulas/mol-polecat-work.formula.toml\n",
        47,
    ),
]
"""Texts, and the most tokens that any of Qwen, DeepSeek, Tekken, Mistral 1 and 3, SmolLM2 makes of them."""


@pytest.mark.parametrize(("text", "most"), COUNTED)
def test_estimate_is_not_low_and_not_far(text: str, most: int) -> None:
    """Between what the most wasteful of six tokenizers makes of it and three times that (CJK is told by its bytes)."""
    assert most <= ESTIMATE.count(text) <= 3 * most


@given(st.text(max_size=300))
def test_estimate_is_never_above_the_bytes(text: str) -> None:
    """A byte is the least that a token stands for."""
    assert 0 <= ESTIMATE.count(text) <= len(text.encode("utf-8", "surrogatepass")) + 2


@pytest.mark.skipif(not REAL.is_dir(), reason="the sample data is not beside the checkout")
def test_estimate_of_real_text_is_near_a_real_tokenizer() -> None:
    """Of each long document at least what a vocabulary of 30,000 pieces makes of it; of all less than twice that."""
    file = Path(__file__).parents[2] / "gtftd" / "rag" / "files" / "minilm-tokenizer.json"
    real = load_counter(str(file))
    texts = [path.read_text() for path in sorted(REAL.glob("files/**/*")) if path.suffix in {".md", ".toml", ".tmpl"}]
    texts = [text for text in texts if 200 <= len(text) < 20_000]
    assert len(texts) > 50
    counts = [(ESTIMATE.count(text), real.count(text)) for text in texts]
    assert [] == [pair for pair in counts if pair[0] < pair[1]]
    assert sum(one for one, _ in counts) < 2 * sum(other for _, other in counts)


def trained(folder: Path, words: str) -> Path:
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([words], trainer)
    tokenizer.enable_truncation(4)
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_own_tokenizer_counts_all_of_a_text(tmp_path: Path) -> None:
    """A folder or its file; what the file says of truncation is for training, not for counting."""
    folder = trained(tmp_path / "polecat-7b", "gt done gt done gt done")
    for path in (folder, folder / "tokenizer.json"):
        counter = load_counter(str(path))
        assert "polecat-7b" == counter.name
        assert 40 == counter.count("gt done" * 20)
        assert 0 < counter.count("\ud800 的 \0")


def test_tokenizer_is_read_once_until_it_changes(tmp_path: Path) -> None:
    """A start must not wait for megabytes of vocabulary each time."""
    folder = trained(tmp_path / "model", "gt done")
    first = load_counter(str(folder))
    assert first is load_counter(str(folder))
    trained(folder, "something else " * 50)
    assert first is not load_counter(str(folder))


def test_missing_and_broken_tokenizers_are_told_by_name(tmp_path: Path) -> None:
    """The caller prints the full prime, and the log says why."""
    with pytest.raises(Missing, match="no tokenizer at"):
        load_counter(str(tmp_path))
    broken = tmp_path / "tokenizer.json"
    broken.write_text('{"model": 3}')
    with pytest.raises(Invalid, match="is no tokenizer"):
        load_counter(str(broken))


def test_without_a_tokenizer_the_estimate_counts() -> None:
    """It says that it is one."""
    assert "estimate" == load_counter(None).name

"""Conventions by rule: what breaks each, and what only looks like it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtftd.corpus.acts import ReadSpan
from gtftd.corpus.conventions import RULES, Worker, violations
from gtftd.corpus.shell import read_commands, read_runs
from gtftd.town.conversation import RawCall, RawMessage
from tests.support.spans import NUX, TOWN, SpanBuilder, worker

COMMANDS: dict[str, tuple[str, list[str], list[str]]] = {
    "push-to-main": (
        "polecat",
        [
            "git push origin main",
            "git add -A && git commit -m 'fix: x (gt-abc)' && git push origin HEAD:main",
            "git -C . push origin polecat/nux/gt-abc@1:refs/heads/master",
            "git checkout main && git push",
            "bash -lc 'git push origin main'",
            "(cd x; timeout 60 git push origin main)",
        ],
        [
            "git push -u origin HEAD",
            "git push origin polecat/nux/gt-abc@1",
            "echo 'git push origin main'",
            "grep -rn 'git push origin main' docs",
            "git push --dry-run origin main",
            "git push -h origin main",
            "cat > doc.md <<'EOF'\ngit push origin main\nEOF",
            "# git push origin main",
            "git log origin/main..HEAD",
            "git push origin main-menu",
        ],
    ),
    "bd-close-own-root": (
        "polecat",
        [
            "bd close gt-abc",
            "bd close gt-abc --reason 'Fixed in abc1234' && gt done",
            "bd update gt-abc --status closed",
            "bd update gt-abc --status=closed",
            "bd close gt-abc.1 gt-abc",
            "bd done gt-abc",
        ],
        [
            "bd close gt-abc.1",
            "bd close gt-abcd",
            "bd close gt-abc --reason='no-changes: already fixed' && gt done",
            "bd close gt-abc -r 'No-changes: not reproducible'; gt done --status COMPLETED",
            "bd close --help gt-abc",
            "echo bd close gt-abc",
            "bd update gt-abc --notes 'bd close gt-abc'",
        ],
    ),
    "edit-outside-worktree": (
        "polecat",
        [
            f"echo x > {TOWN}/gastown/mayor/rig/main.go",
            "sed -i s/a/b/ ~/gt/gastown/crew/max/x.py",
            f"cp main.go {TOWN}/gastown/polecats/slit/gastown/main.go",
            "rm $GT_ROOT/gastown/config.json",
            "cat > ../../../settings/config.json <<EOF\n{}\nEOF",
        ],
        [
            "echo x > main.go",
            f"echo x > {NUX}/docs/a.md",
            "echo x > /tmp/notes.txt",
            f"cat {TOWN}/gastown/mayor/rig/main.go > copy.go",
            "cp $UNKNOWN/a b",
            "make 2>/dev/null 1>&2",
            f"grep -r x {TOWN}/gastown/crew",
        ],
    ),
    "cd-outside-worktree": (
        "polecat",
        ["cd ~/gt/gastown && ls", f"cd {TOWN}/gastown/crew/max", "cd ../../slit/gastown", "pushd $GT_ROOT/beads"],
        ["cd docs && ls", "cd /tmp", f"cd {NUX}/internal", f"cd {TOWN}", 'cd "$SOMEWHERE"', "echo cd ~/gt/gastown"],
    ),
    "sling-by-polecat": (
        "polecat",
        ["gt sling gt-x gastown", "cd x && gt sling gt-x", "GT_DEBUG=1 gt sling gt-x beads --args y"],
        ["gt sling --help", "bd show gt-x # gt sling", "echo gt sling gt-x", "gt sling gt-x --dry-run"],
    ),
    "discards-work": (
        "polecat",
        ["git checkout -- .", "git checkout .", "git restore .", "git restore --staged --worktree ."],
        [
            "git checkout -- one.py",
            "git restore --staged .",
            "git restore one.py",
            "git checkout main",
            "git checkout -p .",
        ],
    ),
    "commit-message-form": (
        "polecat",
        [
            "git commit -m 'stuff'",
            "git commit -am 'fix: no bead'",
            "git commit -m \"$(cat <<'EOF'\nupdate things\nEOF\n)\"",
        ],
        [
            "git commit -m 'fix: handle nil (gt-abc)'",
            "git commit -m 'feat(api)!: new (gt-abc)'",
            'git commit -m "$(cat <<\'EOF\'\nfix: a "quoted" thing (gt-abc)\n\nBody; git push --force\nEOF\n)"',
            "git commit --amend -m x",
            "git commit -m 'fix: x' -m 'For gt-abc.'",
            "git commit -m 'fix: x (gt-abc)' -m 'body text'",
            "git commit --message='fix: x (gt-abc)'",
            'git commit -m "$MESSAGE"',
            "git commit --amend --no-edit",
        ],
    ),
    "done-mail": (
        "polecat",
        [
            "gt mail send mayor/ -s 'Done with gt-abc' -m x",
            "gt mail send gastown/witness -s COMPLETED",
            "gt mail send mayor/ --subject='Work finished'",
        ],
        [
            "gt mail send gastown/witness -s 'HELP: not done' -m x",
            "gt mail send --self -s done",
            "gt mail inbox",
            "gt mail read done",
        ],
    ),
    "creates-pr": (
        "polecat",
        ["gh pr create --fill", "git push && gh pr create", "gh pr create -t 'x' -b 'y'"],
        ["gh pr view 3", "gh pr create --help", "echo 'gh pr create'", "gh pr list"],
    ),
    "makes-branch": (
        "crew",
        ["git checkout -b feature", "git switch -c feature", "git checkout -B x origin/main", "git switch --create x"],
        [
            "git checkout main",
            "git switch main",
            "git checkout -b polecat/nux/gt-abc origin/main",
            "git branch -d x",
            "git checkout -b temp-resolve",
        ],
    ),
    "sudo": (
        "crew",
        ["sudo apt-get update", "sudo -u root ls", "cd x && sudo rm y"],
        ["echo sudo", "man sudo", "grep sudo x"],
    ),
    "system-packages": (
        "crew",
        [
            "apt-get install -y jq",
            "brew install jq",
            "npm install -g typescript",
            "pip install --break-system-packages x",
        ],
        [
            "apt-cache search jq",
            "npm install",
            "pip install -r requirements.txt",
            "npm install --save-dev jest",
            "brew list",
        ],
    ),
    "force-push": (
        "crew",
        [
            "git push --force",
            "git push -f origin x",
            "git push -uf origin x",
            "git push origin +x",
            "git push --force --force-with-lease",
        ],
        [
            "git push --force-with-lease",
            "git push",
            "git push --force-if-includes",
            "echo git push -f",
            "git push --follow-tags",
        ],
    ),
    "reset-hard": (
        "crew",
        ["git reset --hard", "git reset --hard HEAD~1", "git -C x reset --hard", "git reset --hard origin/main"],
        [
            "git reset HEAD~1",
            "git reset --soft HEAD~1",
            "echo git reset --hard",
            "git commit -m 'docs: git reset --hard is bad'",
        ],
    ),
    "clean-force": (
        "crew",
        ["git clean -f", "git clean -fdx", "git clean --force -d"],
        ["git clean -n", "git clean -fdn", "make clean -f Makefile", "git status"],
    ),
    "rm-rf-root": (
        "polecat",
        [
            "rm -rf /",
            "rm -rf /*",
            "rm -fr ~",
            "rm -rf $HOME/",
            f"rm -rf {TOWN}/gastown/crew/max",
            "rm -r -f /etc",
            f"rm -rf {TOWN}",
        ],
        [
            "rm -rf build",
            "rm -rf /tmp/x",
            "rm -rf ./node_modules",
            f"rm -rf {NUX}/dist",
            "rm -rf $TMPDIR/x",
            "rm x",
            "rm -r docs",
        ],
    ),
    "drops-database": (
        "crew",
        ["dolt sql -q 'DROP DATABASE x'", "mysql -e 'use a; drop table issues'", "bd sql 'TRUNCATE TABLE events'"],
        [
            "dolt sql -q 'select 1'",
            "grep -ri 'drop table' .",
            "echo 'drop database x'",
            "bd create 'drop table support'",
            "dolt sql -q \"select 'x' as drop_table\"",
        ],
    ),
    "wipes-beads": (
        "crew",
        ["bd init --force", "bd init -f", "cd x && bd init --prefix a --force"],
        ["bd init", "echo bd init --force", "bd init --help"],
    ),
    "dependency-direction": (
        "mayor",
        [
            "bd dep add gt-a.1 gt-a",
            "bd dep add gt-a gt-a.2 --type parent-child",
            "bd dep gt-a --blocks gt-a.1",
            "bd dep add gt-p1 gt-p2; bd dep remove gt-p1 gt-p2; bd dep add gt-p2 gt-p1",
        ],
        [
            "bd dep add gt-b gt-a",
            "bd dep add gt-a gt-a.1",
            "bd dep add gt-a.1 gt-a --type parent-child",
            "bd dep list gt-a",
            "bd dep add gt-a.1 gt-a.2",
        ],
    ),
    "invalid-status": (
        "crew",
        ["bd update gt-a --status done", "bd update gt-a --status=complete", "bd update gt-a -s completed"],
        [
            "bd update gt-a --status in_progress",
            "bd list --status done",
            "bd update gt-a --notes '--status done'",
            "gt done --status COMPLETED",
        ],
    ),
    "no-such-command": (
        "crew",
        ["bd complete gt-a", "gt issue create 'x'", "gt polecat spawn gastown", "gt polecat kill gastown/nux"],
        [
            "bd close gt-a",
            "bd create complete",
            "gt polecat nuke gastown/nux",
            "gt issue clear",
            "echo bd complete gt-a",
        ],
    ),
    "tmux-send-keys": (
        "mayor",
        ["tmux send-keys -t gt-nux hi Enter", "tmux -L gt-abc send-keys -t x y", "sleep 1; tmux send-keys -t x C-c"],
        ["tmux ls", "tmux capture-pane -p", "gt nudge gastown/nux 'tmux send-keys'", "echo tmux send-keys"],
    ),
    "restarts-dolt": (
        "polecat",
        [
            "gt dolt stop && gt dolt start",
            "pkill -f 'dolt sql-server'",
            "killall dolt",
            "gt dolt status; gt dolt restart",
        ],
        [
            "gt dolt status",
            "kill -QUIT 123",
            "pkill -QUIT dolt",
            "gt escalate -s HIGH 'Dolt: restart it'",
            "gt dolt cleanup",
        ],
    ),
    "touches-dolt-data": (
        "dog",
        [
            "rm ~/gt/.dolt-data/gastown/.dolt/noms/LOCK",
            "rm -rf .dolt-data/old",
            "echo x > /a/.dolt/config.json",
            "mv .dolt-data/a b",
        ],
        [
            "ls ~/gt/.dolt-data",
            "cat ~/gt/.dolt-data/dolt.pid",
            "tail -5 .dolt-data/dolt.log > /tmp/log",
            "du -sh .dolt",
            "cp -r .dolt-data/a /backup",
        ],
    ),
    "memory-file": (
        "crew",
        ["echo x >> MEMORY.md", "echo x > ~/.claude/projects/a/memory/notes.md", "tee -a ~/.claude/memory/x.md < y"],
        [
            "cat MEMORY.md",
            "gt remember x",
            "echo x > docs/memory.md",
            "echo x > src/memory/pool.py",
            "ls ~/.claude/projects",
        ],
    ),
    "assumes-identity": (
        "crew",
        ["GT_ROLE=mayor gt prime", "export BD_ACTOR=gastown/polecats/nux", "export GT_ROLE=witness && gt prime"],
        [
            "GT_ROLE=gastown/crew/max gt prime",
            "GT_ROLE=polecat go test ./...",
            "export PATH=/x",
            "echo $GT_ROLE",
            "export GT_ROLE=$GT_ROLE",
        ],
    ),
    "branch-grep-queue": (
        "refinery",
        [
            "git branch -r --list '*polecat*'",
            "git branch -a --list 'origin/polecat/*'",
            "git branch -r | grep polecat",
            "git branch --remotes | grep -c polecat/",
        ],
        [
            "gt mq list gastown",
            "git branch -d polecat/nux",
            "git branch -r",
            "git branch | grep temp",
            "git log | grep polecat",
        ],
    ),
    "raw-integration-land": (
        "refinery",
        [
            "git checkout main && git merge integration/gt-epic",
            "git merge --no-ff origin/integration/x",
            "git push origin integration/x:main",
        ],
        [
            "gt mq integration land gt-epic",
            "git merge --ff-only temp",
            "git checkout integration/x",
            "git push origin integration/x",
        ],
    ),
    "messages-polecat": (
        "refinery",
        ["gt nudge gastown/polecats/nux 'fix it'", "gt mail send gastown/polecats/nux -s x", "gt nudge gastown/nux hi"],
        [
            "gt nudge gastown/witness MERGE_FAILED",
            "gt mail send gastown/witness -s x",
            "gt nudge mayor/ x",
            "gt nudge gastown/crew/max x",
            "gt nudge deacon/ x",
        ],
    ),
    "sleep-poll": (
        "refinery",
        ["sleep 60 && gt mq list", "while true; do gt mq list; sleep 45; done", "sleep 5m"],
        ["sleep 2", "gt mol step await-signal", "timeout 60 make test", "echo sleep 60"],
    ),
    "mails-dog": (
        "deacon",
        [
            "gt mail send deacon/dogs/rex -s x",
            "gt mail send deacon/dogs/alpha -s y -m z",
            "cd x; gt mail send deacon/dogs/a -s s",
        ],
        ["gt mail send mayor/ -s x", "gt nudge deacon/dogs/rex x", "gt dog list"],
    ),
    "mail-by-dog": (
        "dog",
        ["gt mail send deacon/ -s x", "gt mail send mayor/ -s DOG_DONE", "true && gt mail send a/b -s c"],
        ["gt mail inbox", "gt nudge deacon/ DOG_DONE", "gt dog done", "gt mail send --help"],
    ),
    "github-review": (
        "crew",
        ["gh pr review 3 --approve", "gh pr comment 3 -b x", "cd r && gh pr review --comment -b y"],
        ["gh pr view 3", "gh pr diff 3", "gh pr checkout 3", "gh pr review --help"],
    ),
    "self-sling": (
        "crew",
        ["gt sling gt-a", "gt sling gt-a --args 'be quick'", "cd x && gt sling gt-a"],
        ["gt sling gt-a gastown", "gt sling gt-a gastown --crew max", "gt sling gt-a --crew max", "gt sling --help"],
    ),
    "pours-patrol": (
        "deacon",
        ["bd mol pour mol-deacon-patrol", "bd mol pour mol-witness-patrol --var a=b", "cd x; bd mol pour patrol"],
        ["bd mol wisp mol-deacon-patrol", "bd mol pour mol-release", "gt patrol new", "echo bd mol pour patrol"],
    ),
    "mayor-codes": (
        "mayor",
        [
            f"echo x > {TOWN}/gastown/crew/max/a.go",
            f"sed -i s/a/b/ {TOWN}/gastown/polecats/nux/gastown/a.go",
            "rm ~/gt/gastown/crew/max/b",
        ],
        [
            f"echo x > {TOWN}/mayor/notes.md",
            f"echo x > {TOWN}/gastown/mayor/rig/a.go",
            "cat ~/gt/gastown/crew/max/a.go",
            "ls",
        ],
    ),
    "stops-rig": (
        "mayor",
        ["gt rig stop gastown", "gt rig stop a && ls", "timeout 9 gt rig stop b"],
        ["gt rig park gastown", "gt rig dock x", "gt crew stop max", "gt rig stop --help"],
    ),
}


def broken(role: str, *commands: str, **more: object) -> list[str]:
    span = SpanBuilder().user("work")
    for command in commands:
        span.bash(command)
    return [found.rule for found in violations(span.messages, worker(role, **more))]


@pytest.mark.parametrize(
    ("rule", "command"), [(rule, command) for rule, (_, wrong, _) in COMMANDS.items() for command in wrong]
)
def test_a_command_breaks_its_rule(rule: str, command: str) -> None:
    """Chained, wrapped, nested in another shell, with its flags in any order."""
    assert rule in broken(COMMANDS[rule][0], command)


@pytest.mark.parametrize(
    ("rule", "command"), [(rule, command) for rule, (_, _, right) in COMMANDS.items() for command in right]
)
def test_what_only_looks_like_it_breaks_nothing(rule: str, command: str) -> None:
    """Quoted, printed, searched for, written to a document, asked for help: no violation."""
    assert rule not in broken(COMMANDS[rule][0], command)


def test_every_rule_says_who_and_why() -> None:
    """A rule has a number of the table, roles, a sentence and a source."""
    for id_, rule in RULES.items():
        assert id_ == rule.id and 1 <= rule.number <= 38 and rule.roles and rule.source
        assert rule.sentence.endswith(".")


def test_roles_and_repositories_decide() -> None:
    """The refinery pushes to main; crew do, unless the rig takes pull requests, where they make them."""
    assert [] == broken("refinery", "git push origin main")
    assert [] == broken("crew", "git push origin main")
    assert ["push-to-main"] == broken("crew", "git push origin main", pr_workflow=True)
    assert ["creates-pr", "makes-branch"] == broken("crew", "gh pr create", "git checkout -b x")
    assert [] == broken("polecat", "gh pr create && git checkout -b x", pr_workflow=True)
    assert [] == broken(
        "refinery", "git checkout -b temp origin/polecat/nux/gt-abc && git push -f origin polecat/nux/x"
    )
    assert ["force-push"] == broken("refinery", "git push -f origin main")
    assert "sling-by-polecat" not in broken("mayor", "gt sling gt-a gastown")


def test_no_changes_needs_its_gt_done() -> None:
    """Close with no-changes, then gt done; a close that ends the span may have been cut off from it."""
    close = "bd close gt-abc --reason='no-changes: done before'"
    assert [] == broken("polecat", close, "gt done")
    assert [] == broken("polecat", "ls", close)
    assert ["bd-close-own-root"] == broken("polecat", close, "bd ready")
    assert ["bd-close-own-root"] == broken("polecat", "gt done", close, "ls")
    assert [] == broken("polecat", "bd close gt-abc", bead=None)


def test_a_call_that_was_blocked_was_attempted() -> None:
    """The guard's answer does not undo the attempt."""
    span = SpanBuilder().bash("git push --force", "PreToolUse:Bash hook error: blocked", error=True)
    found = violations(span.messages, worker())
    assert [("force-push", 0, "toolu_0001", "hard")] == [(v.rule, v.message, v.call_id, v.severity) for v in found]


def test_edits_by_tools_count_by_their_path() -> None:
    """Absolute paths in other places of the town, Dolt's files and memory; one's own files do not."""

    def edited(role: str, path: str) -> list[str]:
        return [found.rule for found in violations(SpanBuilder().edit(path).messages, worker(role))]

    assert ["edit-outside-worktree"] == edited("polecat", f"{TOWN}/gastown/main.go")
    assert ["edit-outside-worktree"] == edited("polecat", f"{NUX}/../../slit/gastown/a.py")
    assert [] == edited("polecat", f"{NUX}/main.go") == edited("polecat", "/tmp/a") == edited("crew", f"{TOWN}/x/y")
    assert ["memory-file"] == edited("crew", "/home/ada/.claude/projects/-home/memory/MEMORY.md")
    assert ["touches-dolt-data"] == edited("mayor", f"{TOWN}/.dolt-data/config.yaml")
    assert ["mayor-codes"] == edited("mayor", f"{TOWN}/gastown/crew/max/a.go")
    assert ["witness-writes-code"] == edited("witness", f"{TOWN}/gastown/witness/a.go")
    assert ["refinery-writes-code"] == edited("refinery", f"{TOWN}/gastown/refinery/rig/a.go")
    assert [] == edited("witness", "/tmp/report.md") == edited("refinery", f"{TOWN}/gastown/.beads/x")
    patch = SpanBuilder().call("apply_patch", {"input": f"*** Begin Patch\n*** Update File: {TOWN}/beads/x.go\n"})
    assert ["edit-outside-worktree"] == [found.rule for found in violations(patch.messages, worker())]


def test_the_refinery_resolves_conflicts() -> None:
    """After a rebase that stopped in a conflict it may edit; once that is over it may not."""
    span = SpanBuilder().bash("git rebase main", "CONFLICT (content): Merge conflict in a.go", error=True)
    span.edit("/x/a.go").bash("git add a.go && git rebase --continue", "Successfully rebased").edit("/x/b.go")
    found = violations(span.messages, worker("refinery"))
    assert [("refinery-writes-code", span.at)] == [(violation.rule, violation.message) for violation in found]


def test_red_tests_are_not_merged() -> None:
    """Push or post-merge after a red run breaks the rule; a green run, a bead or a rejection before it does not."""
    red = ("go test ./...", "--- FAIL: TestX\nFAIL\tx\t0.1s\nFAIL")

    def rules(*between: tuple[str, str]) -> set[str]:
        span = SpanBuilder().bash(*red, error=True)
        for command, output in between:
            span.bash(command, output)
        span.bash("git checkout main && git merge --ff-only temp && git push origin main")
        return {violation.rule for violation in violations(span.messages, worker("refinery"))}

    assert {"merge-on-red"} == rules()
    assert set() == rules(("go test ./...", "ok  \tx\t0.1s"))
    assert set() == rules(("bd create --type=bug --title='red before us'", "gt-x"))
    assert set() == rules(("gt mq reject gt-mr-1 --reason red", "ok"))
    assert {"merge-on-red"} == rules(("git log -1", "x"))


def test_each_branch_is_rebased_after_a_merge() -> None:
    """The second merge without a rebase after the first push."""
    land = "git merge --ff-only temp && git push origin main"
    assert [] == broken("refinery", "git rebase main temp", land, "git rebase main temp2", land)
    assert ["merge-without-rebase"] == broken("refinery", "git rebase main temp", land, land)
    assert [] == broken("refinery", land, "git merge --abort")


def test_mail_and_lists_of_a_polecat() -> None:
    """One mail is enough, none to oneself counts; the harness's task list is not the checklist."""
    mail = "gt mail send gastown/witness -s 'HELP: x' -m y"
    assert [] == broken("polecat", mail)
    assert ["second-mail"] == broken("polecat", mail, mail)
    assert [] == broken("polecat", mail, "gt mail send --self -s note -m x", "gt mail inbox")
    todo = SpanBuilder().call("TodoWrite", {"todos": []})
    assert ["internal-task-list"] == [found.rule for found in violations(todo.messages, worker())]
    assert () == violations(todo.messages, worker("crew"))
    assert () == violations(SpanBuilder().call("Task", {"prompt": "TodoWrite"}).messages, worker())


def test_the_commit_gate() -> None:
    """`--cleanup-status=clean` is for work without changes."""

    def rules(*, edit: bool, commit: bool) -> list[str]:
        span = SpanBuilder().bash("ls")
        if edit:
            span.edit(f"{NUX}/a.go")
        if commit:
            span.bash("git commit -am 'fix: x (gt-abc)'", "[polecat/nux/gt-abc abc1234] fix: x")
        span.bash("gt done --cleanup-status=clean", None)
        return [found.rule for found in violations(span.messages, worker())]

    assert ["dodges-commit-gate"] == rules(edit=True, commit=False)
    assert [] == rules(edit=False, commit=False) == rules(edit=True, commit=True)


def test_commits_are_on_the_own_branch() -> None:
    """Git says which branch it committed to."""

    def rules(branch: str, role: str = "polecat") -> list[str]:
        span = SpanBuilder().bash("git commit -m 'fix: x (gt-abc)'", f"[{branch} abc1234] fix: x\n 1 file changed")
        return [found.rule for found in violations(span.messages, worker(role))]

    assert ["commit-on-main"] == rules("main") == rules("master")
    assert ["commit-on-others-branch"] == rules("polecat/slit/gt-x@k2")
    assert [] == rules("polecat/nux/gt-abc@k2") == rules("main", "crew") == rules("feature/x")


def test_waiting_for_a_person() -> None:
    """A polecat that asks, a first turn that only announces, an end without gt done, an offer to push."""
    asked = SpanBuilder().user("go").bash("ls").say("All done. Should I push this?")
    assert ["asks-and-waits", "ended-without-done"] == [v.rule for v in violations(asked.messages, worker())]
    told = SpanBuilder().user("primed", "hook").say("I am nux. Ready.").user("go on").bash("ls").bash("gt done", None)
    assert ["announces-and-waits"] == [v.rule for v in violations(told.messages, worker())]
    offered = SpanBuilder().user("go").bash("git commit -m x").say("Committed; ready to push when you are!")
    assert ["waits-to-push"] == [v.rule for v in violations(offered.messages, worker("crew"))]
    thinking = SpanBuilder().user("go").say("Should I use a map? Yes.").bash("ls").bash("gt done").say("Done.")
    assert [] == [v.rule for v in violations(thinking.messages, worker())]
    person = SpanBuilder().user("go").bash("ls").say("Shall I continue?").user("yes").bash("ls")
    assert [] == [v.rule for v in violations(person.messages, worker("crew"))]
    dog = SpanBuilder().user("go").bash("ls").say("Finished.")
    assert ["ended-without-dog-done"] == [v.rule for v in violations(dog.messages, worker("dog"))]
    assert [] == [v.rule for v in violations(dog.bash("gt dog done").say("x").messages, worker("dog"))]


def test_health_checks_are_not_answered_by_mail() -> None:
    """Right after the nudge; a mail at another time is the witness's business."""
    span = SpanBuilder().user("[from deacon] HEALTH_CHECK").bash("gt mail send deacon/ -s OK")
    assert ["mails-health-check"] == [v.rule for v in violations(span.messages, worker("witness"))]
    span = SpanBuilder().user("[from deacon] HEALTH_CHECK").bash("gt polecat list").bash("gt mail send mayor/ -s X")
    assert [] == [v.rule for v in violations(span.messages, worker("witness"))]


def test_looking_first_excuses_a_restart() -> None:
    """For the mayor, the deacon and crew; never for polecats, witness and refinery."""
    assert ["restarts-dolt"] == broken("mayor", "gt dolt stop")
    assert [] == broken("mayor", "gt dolt status", "gt dolt stop")
    assert ["restarts-dolt"] == broken("witness", "gt dolt status", "gt dolt stop")


def test_only_the_own_turns_count() -> None:
    """What is not the agent's own turn, and what a tool printed, breaks nothing."""
    foreign = RawMessage("assistant", "", (RawCall("a", "Bash", {"command": "git push -f"}),), trainable=False)
    printed = RawMessage("tool", "git push -f", tool_call_id="a")
    assert () == violations([foreign, printed, RawMessage("user", "git push -f")], worker())
    assert () == violations([], Worker("polecat"))
    read = SpanBuilder().call("Read", {"command": "git push -f", "file_path": f"{TOWN}/.dolt-data/x"})
    assert () == violations(read.messages, worker())


def test_commands_as_lists() -> None:
    """Codex writes argument vectors, mostly around `bash -lc`."""

    def rules(command: object) -> list[str]:
        span = SpanBuilder().call("shell", {"command": command})
        return [found.rule for found in violations(span.messages, worker("crew"))]

    assert ["force-push"] == rules(["bash", "-lc", "cd x && git push -f"]) == rules(["git", "push", "-f"])
    assert [] == rules(["echo", "git push -f"]) == rules(["bash", "-lc"]) == rules(7) == rules([1, None])


def test_the_shell_reader_understands_what_agents_write() -> None:
    """Substitutions, redirections, here-strings, subshells, wrappers, assignments, negations."""

    def words(text: str) -> list[tuple[str, ...]]:
        return [command.words for command in read_commands(text)]

    assert [("a", "b c"), ("d",), ("e",)] == words("a 'b c' && d | e")
    assert [("date",), ("echo", "$() x")] == words('echo "$(date) x"')
    assert [("x",), ("a", "$()")] == words("a `x`")
    assert [("a", "b")] == words("a 2>&1 >out <in b <<< here")
    assert [("out", "more")] == [command.writes for command in read_commands("a >out 2>>more")]
    assert [("cat",), ("git", "commit", "-m", 'say "hi"\n')] == words(
        'git commit -m "$(cat <<\'EOF\'\nsay "hi"\nEOF\n)"'
    )
    assert [("a",), ("b",)] == words("(a; b)")
    run = next(iter(read_runs("! FOO=1 env BAR=2 timeout -k 5 60 /usr/bin/git push")))
    assert ("git", ("push",), {"FOO": "1", "BAR": "2"}) == (run.name, run.arguments, dict(run.sets))
    assert ["b", "a", "c"] == [run.name for run in read_runs("bash -c 'b; a'; eval 'c'")]
    assert [True, False] == [run.feeds_pipe for run in read_runs("pytest | tail")]


HOSTILE = [
    "$(",
    "`",
    '"',
    "'",
    "(",
    "<<E\n",
    "\\",
    "&&",
    "|",
    "a=b ",
    "cd .. ;",
    "bash -c '",
    "\n",
    "\0",
    "é",
    "git push ",
]


@pytest.mark.parametrize("bit", HOSTILE)
def test_hostile_commands_are_read_in_linear_time(bit: str) -> None:
    """Five megabytes of one broken token, as command, path, answer and words: it ends, and never raises."""
    text = bit * (5_000_000 // len(bit))
    span = SpanBuilder().user(text, "meta").bash(text, text, error=True).edit(text).say(text).bash("make test", text)
    violations(ReadSpan(span.messages), worker())


def test_the_work_grows_with_the_text_only() -> None:
    """The reader never goes back: its place only grows, so the commands found are bounded by the characters."""
    for size in (1000, 2000, 4000):
        assert len(read_commands("a;" * size)) == size
    assert len(read_commands("$(" * 30_000)) <= 30_000


@given(
    st.lists(
        st.one_of(
            st.text(alphabet="git push -f main;&|'\"\\$()`#<>E\n=- bd close gt-abc gh pr", max_size=80).map(
                lambda text: ("Bash", {"command": text})
            ),
            st.tuples(
                st.sampled_from(["Bash", "Edit", "Write", "apply_patch", "TodoWrite", "mcp__beads__close", ""]),
                st.dictionaries(
                    st.sampled_from(["command", "file_path", "path", "input", "issue_id", "cmd"]),
                    st.one_of(
                        st.none(), st.integers(), st.text(max_size=40), st.lists(st.text(max_size=9), max_size=4)
                    ),
                ),
            ),
        ),
        max_size=6,
    ),
    st.sampled_from(["polecat", "crew", "refinery", "witness", "mayor", "deacon", "dog", "nobody"]),
    st.one_of(st.none(), st.just(TOWN), st.text(max_size=20)),
)
@settings(deadline=None, max_examples=150)
def test_nothing_raises(calls: list[tuple[str, dict[str, object]]], role: str, town: str | None) -> None:
    """Whatever the arguments are, and whoever the worker is: rule ids of the table come out, nothing else."""
    span = SpanBuilder()
    for number, (name, arguments) in enumerate(calls):
        span.call(name, arguments, None if number % 3 == 2 else "out", error=number % 2 == 1)
    for found in violations(span.messages, worker(role, town_root=town)):
        assert found.rule in RULES and span.messages[found.message].role == "assistant"

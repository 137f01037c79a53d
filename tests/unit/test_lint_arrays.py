"""Arrays that are written as if a shell ran them."""

from __future__ import annotations

import pytest

from taskman_cli.core.model import Execution, Job, Task
from taskman_cli.core.schedule import Reboot
from taskman_cli.insight.lint import lint_array


def message(*words: str) -> str | None:
    task = Task("main", words, Execution())
    found = lint_array(Job("j", Reboot("UTC"), (task,)), task)
    return found and found.message


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (["echo", "$HOME", "*.txt"], "$HOME"),
        (["echo", "*.txt"], "*.txt"),
        (["/bin/rm", "-f", "/var/tmp/*.gz"], "/var/tmp/*.gz"),
        (["curl", "-H", "Authorization: Bearer ${TOKEN}"], "Authorization: Bearer ${TOKEN}"),
        (["backup", "--date=$(date +%F)"], "--date=$(date +%F)"),
        (["pg_dump", "db", ">", "out"], ">"),
        (["a", "2>&1"], "2>&1"),
        (["a", "&&", "b"], "&&"),
        (["a", ">/dev/null"], ">/dev/null"),
        (["a", "2>>./log"], "2>>./log"),
        (["echo", "`date`"], "`date`"),
        (["backup", "--date=`date +%F`"], "--date=`date +%F`"),
        (["cp", "x", "~/y"], "~/y"),
        (["timeout", "5m", "nice", "-n", "5", "ls", "*.log"], "*.log"),
        (["flock", "-n", "/run/lock", "ls", "*.log"], "*.log"),
        (["env", "A=1", "echo", "$PATH"], "$PATH"),
    ],
)
def test_a_word_for_a_shell_is_found(words: list[str], word: str) -> None:
    assert message(*words) == f'an array runs without a shell, and the program gets "{word}" literally'


def test_a_long_word_is_cut() -> None:
    assert "…" in (message("echo", "$HOME/" + "x" * 100) or "")


@pytest.mark.parametrize(
    "words",
    [
        ["true"],
        ["sh", "-c", "echo $HOME > x"],
        ["timeout", "5m", "bash", "-c", "a && b"],
        ["flock", "/run/lock"],
        ["flock", "/run/lock", "-c", "echo $HOME"],
        ["timeout"],
        ["sudo", "-u"],
        ["find", ".", "-name", "*.txt", "-exec", "rm", "{}", ";"],
        ["awk", "{ print $NF }", "x"],
        ["grep", "-E", "a*$", "x"],
        ["rsync", "--exclude", "*.o", "a", "host:~/b"],
        ["ssh", "host", "echo $HOME | wc"],
        ["curl", "https://example.org/?a=1&b=2"],
        ["tar", "czf", "x", "--exclude=*.o", "."],
        ["psql", "-c", "SELECT * FROM t WHERE a > 1"],
        ["echo", "5 * 3", "cost: $5", "a & b"],
        ["git", "add", "*.py"],
    ],
)
def test_words_that_the_program_understands_are_fine(words: list[str]) -> None:
    assert message(*words) is None


def test_a_string_is_for_the_shell() -> None:
    task = Task("main", "echo $HOME", Execution())
    assert lint_array(Job("j", Reboot("UTC"), (task,)), task) is None

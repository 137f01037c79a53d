"""What every type of executor has to stand: the conformance suite, for the tests of your own type too.

    from taskman_cli.executors.testing import check, in_shell

    def test_my_executor() -> None:
        check(lambda: MyExecutor(DEFINITION), say=in_shell)

`check` drives executors directly, each on an event loop of its own. `say` turns a small program (acts.py)
into the command or call of a job: `in_shell`, `in_python`, or a function of yours. What a type cannot
promise by nature is named in `without`, by the names in CHECKS. It raises AssertionError, in words.
"""

from taskman_cli.executors.testing.acts import Act, Said, in_python, in_shell
from taskman_cli.executors.testing.checks import CHECKS, check

__all__ = ["CHECKS", "Act", "Said", "check", "in_python", "in_shell"]

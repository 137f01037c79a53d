"""What every type of executor has to stand: the conformance suite, for the tests of your own type too.

    from taskman_cli.executors.testing import check, in_shell

    def test_my_executor() -> None:
        check(lambda: MyExecutor(DEFINITION), say=in_shell)

`check` drives executors directly, each on an event loop of its own. `say` turns a small program (acts.py)
into the command or call of a job: `in_shell`, `in_python`, or a function of yours. What a type cannot
promise by nature is named in `without`, by the names in CHECKS. `check_program` runs jobs with the real
program, and kills each of its processes in turn (SCENES). Both raise AssertionError, in words.
"""

from taskman_cli.executors.testing.acts import Act, Said, in_python, in_shell
from taskman_cli.executors.testing.checks import CHECKS, check
from taskman_cli.executors.testing.program import SCENES, check_program

__all__ = ["CHECKS", "SCENES", "Act", "Said", "check", "check_program", "in_python", "in_shell"]

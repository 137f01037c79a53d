"""What a command that has waited for a run exits with."""

from __future__ import annotations

from typing import Any

import pytest

from taskman_cli.cli.support.run_result import exit_code


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ({"state": "succeeded", "exit_code": 3}, 0),
        ({"state": "failed", "exit_code": 3}, 3),
        ({"state": "failed", "signal": 15}, 143),
        ({"state": "failed", "detail": "not found: nope"}, 127),
        ({"state": "failed", "detail": "not executable: /etc/passwd"}, 126),
        ({"state": "failed", "detail": "permission denied: /root/x"}, 126),
        ({"state": "failed", "detail": "cwd: no such directory"}, 1),
        ({"state": "failed"}, 1),
        ({"state": "timed_out", "signal": 9}, 1),
        ({"state": "cancelled", "exit_code": 0}, 1),
    ],
)
def test_the_code_is_the_commands_own_as_a_shell_has_it(end: dict[str, Any], code: int) -> None:
    assert code == exit_code(end)

"""The users that tests make under CI, and that they take away again."""

from __future__ import annotations

import pwd
import subprocess
from contextlib import suppress

import pytest
from people import can_make, people


@pytest.mark.skipif(not can_make(), reason="only root makes accounts, and only where CI is set")
def test_the_accounts_of_a_session_are_removed_after_it_with_all_their_processes() -> None:
    with suppress(ZeroDivisionError), people("tmx") as (mallory, alice):
        left = subprocess.Popen(["sleep", "600"], user=mallory.uid, group=mallory.gid, extra_groups=[])
        assert [pwd.getpwnam(who.name).pw_uid for who in (mallory, alice)] == [mallory.uid, alice.uid]
        raise ZeroDivisionError
    assert left.wait() == -9
    for who in (mallory, alice):
        with pytest.raises(KeyError):
            pwd.getpwnam(who.name)

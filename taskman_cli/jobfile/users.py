"""Readers of `user` and `group`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.jobfile.problems import reject
from taskman_cli.jobfile.shapes import shaped
from taskman_cli.jobfile.values import Context, read_line
from taskman_cli.launch.accounts import NoAccount

if TYPE_CHECKING:
    from taskman_cli.core.model import Account, Group


@shaped(type="string", minLength=1)
def read_user(value: object, context: Context) -> Account:
    """Read the name of a user that commands can run as on this machine."""
    try:
        return context.accounts.user(read_line(value, context))
    except NoAccount as error:
        raise reject(str(error)) from None


@shaped(type="string", minLength=1)
def read_group(value: object, context: Context) -> Group:
    """Read the name of a group that commands can run with on this machine."""
    try:
        return context.accounts.group(read_line(value, context))
    except NoAccount as error:
        raise reject(str(error)) from None

"""Whose jobs a crontab has, and as whom they can run: the one place to change when jobs can run as others."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass

from taskman_cli.jobfile.problems import quoted

#: A tag `crontab-user:bob` keeps the user of a line in a job file: there is no key for it yet.
USER_TAG = "crontab-user:"


@dataclass(frozen=True, slots=True)
class Account:
    """Who this process is."""

    #: None for a user number that has no name.
    name: str | None
    home: str

    @classmethod
    def own(cls) -> Account:
        """Look up the user that this process runs as."""
        try:
            entry = pwd.getpwuid(os.geteuid())
        except KeyError:
            return cls(None, "/")
        return cls(entry.pw_name, entry.pw_dir)


def home_of(user: str) -> str | None:
    """Return the home directory of a user, or None if there is no such user."""
    try:
        return pwd.getpwnam(user).pw_dir
    except (KeyError, ValueError, UnicodeEncodeError):
        return None


def fault_of(user: str, account: Account) -> str:
    """Say why no job can run as this user, or nothing where it can."""
    if user == account.name:
        return ""
    if home_of(user) is None:
        return f"there is no user {quoted(user)} on this machine"
    return (
        f"runs as {quoted(user)}, and taskman cannot run jobs as another user yet: "
        f"start a taskman of that user's with these lines"
    )


def tags_of(user: str | None) -> list[str]:
    """Return the tags that keep the user in a job file."""
    return [] if user is None else [USER_TAG + user]


def user_of(tags: tuple[str, ...]) -> str | None:
    """Return the user that the tags of a job keep."""
    return next((tag.removeprefix(USER_TAG) for tag in tags if tag.startswith(USER_TAG)), None)

"""What a job file may say to `ssh`: hosts and users never taken for options, and options it may set."""

from __future__ import annotations

import re

#: A host and a user; neither can be an option, or means something to a shell.
HOST = re.compile(r"[A-Za-z0-9_\[:][A-Za-z0-9_.:%\[\]-]{0,254}")
USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@\\-]{0,63}")
#: The name of an option of ssh_config(5).
OPTION = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")

#: What the conversation with the other side rests on.
FIXED = {
    "BatchMode": "yes",
    "ClearAllForwardings": "yes",
    "ControlPersist": "no",
    "PermitLocalCommand": "no",
    "RemoteCommand": "none",
    "RequestTTY": "no",
}
#: The options that a job file cannot set, in lower case, with the reason.
_REFUSED = {
    **dict.fromkeys(map(str.lower, FIXED), "taskman sets it by itself"),
    **dict.fromkeys(("controlmaster", "controlpath"), "taskman shares connections by itself: see multiplex"),
    "connecttimeout": "write it as connect_timeout",
    "escapechar": "taskman sets it by itself",
    "forkafterauthentication": "ssh has to stay",
    "host": "write it as host",
    "hostname": "write it as host",
    "match": "write it into ssh's own configuration",
    "sessiontype": "commands need a shell",
    "stdinnull": "taskman talks by standard input",
    "user": "write it as user",
}


def option_fault(name: str) -> str:
    """Return why a job file cannot set an option, in words; "": it can."""
    if not OPTION.fullmatch(name):
        return "not an option of ssh: write its name as in ssh_config, as Port or IdentityFile"
    return _REFUSED.get(name.lower(), "")

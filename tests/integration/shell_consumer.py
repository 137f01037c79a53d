"""A consumer that runs each task in a shell, as a user might write one: a program, started by tests."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
from typing import Any

_lock = threading.Lock()
_running: dict[str, subprocess.Popen[bytes]] = {}


def say(kind: str, handle: str, **more: Any) -> None:
    with _lock:
        sys.stdout.write(json.dumps({"type": kind, "id": handle, **more}) + "\n")
        sys.stdout.flush()


def carry_out(task: dict[str, Any]) -> None:
    handle = task["id"]
    with _lock:
        process = _running[handle] = subprocess.Popen(
            ["/bin/sh", "-c", os.fsencode(task["command"])],
            env={**os.environb, **{os.fsencode(k): os.fsencode(v) for k, v in task["env"].items()}},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    say("accepted", handle)
    threading.Thread(target=feed, args=(process, base64.b64decode(task["stdin"] or "")), daemon=True).start()
    while data := os.read(process.stdout.fileno(), 1 << 16):
        say("output", handle, data=base64.b64encode(data).decode())
    code = process.wait()
    end(process)
    with _lock:
        del _running[handle]
    if code >= 0:
        say("done", handle, exit_code=code)
    else:
        say("done", handle, signal=signal.Signals(-code).name.removeprefix("SIG"))


def feed(process: subprocess.Popen[bytes], data: bytes) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(data)
        process.stdin.close()
    except OSError:
        return


def end(process: subprocess.Popen[bytes], number: int = signal.SIGKILL) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


def leave(*_: object) -> None:
    for process in list(_running.values()):
        end(process)
    os._exit(0)


def main() -> None:
    signal.signal(signal.SIGTERM, leave)
    for line in sys.stdin:
        message = json.loads(line)
        if message["type"] == "task":
            threading.Thread(target=carry_out, args=(message,), daemon=True).start()
        elif (process := _running.get(message["id"])) is not None:
            end(process, getattr(signal, f"SIG{message['signal']}"))
    leave()


if __name__ == "__main__":
    main()

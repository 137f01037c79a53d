#!/usr/bin/env python3
"""A consumer: it is given tasks as lines of JSON, and answers each with lines of its own.

This one reverses words, in as many threads as there are tasks.
"""

import base64
import json
import sys
import threading

cancelled = set()
output = threading.Lock()


def say(**message):
    with output:
        print(json.dumps(message), flush=True)


def work(task):
    name = task["id"]
    say(type="accepted", id=name)
    words = task["command"]
    for number, word in enumerate(words):
        if name in cancelled:
            say(type="done", id=name, exit_code=130, error="cancelled")
            return
        say(type="progress", id=name, part=number / len(words), words=word)
        text = word[::-1] + "\n"
        say(type="output", id=name, data=base64.b64encode(text.encode()).decode())
    say(type="done", id=name, exit_code=0)


for line in sys.stdin:
    message = json.loads(line)
    if message["type"] == "task":
        threading.Thread(target=work, args=(message,)).start()
    elif message["type"] == "cancel":
        cancelled.add(message["id"])

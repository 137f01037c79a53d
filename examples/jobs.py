#!/usr/bin/env python3
"""Jobs in Python: `taskman run examples/jobs.py`. Each function that @job marks is a job of its own."""

import os
import time

from taskman_cli.jobs import current, defaults, executor, job

defaults(timeout="10m")
executor(max_calls=100)


@job(every="5s")
def load():
    """Say how busy the machine is."""
    print("load:", *os.getloadavg())
    # What a function returns is shown below what it prints.
    return os.getloadavg()[0]


@job(every="30s", retry={"max": 2, "delay": "5s"}, kill_timeout="5s", kwargs={"steps": 20})
def work(steps):
    """Work in steps, tell how far it is, and stop between two of them when it is asked to."""
    context = current()
    for step in range(steps):
        if context.cancelled():
            print("stopped after", step, "steps")
            return
        context.progress(step / steps, f"step {step + 1} of {steps}")
        time.sleep(0.5)

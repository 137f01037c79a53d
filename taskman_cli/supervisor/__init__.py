"""The small parent process of `taskman run`: it spawns, captures, signals and reaps, and decides nothing.

It uses light modules of the standard library only (not even `typing` or `dataclasses`): this process stays at
about 10 MB, rarely changes and must not fail.
"""

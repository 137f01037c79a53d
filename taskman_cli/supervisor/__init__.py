"""The small parent process of `taskman run`: it spawns, captures, signals and reaps, and decides nothing.

Standard library only, and only its light modules: this process stays at about 10 MB, hardly ever
changes and must not fail. `typing` and `dataclasses` are among the modules it does without.
"""

"""The checks of `taskman doctor`: for each one a `look_at_` that gathers facts, and a pure `judge_`."""

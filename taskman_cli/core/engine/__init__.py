"""The state machine that decides what runs: events in, effects out. Pure."""

"""The control socket: the server in the scheduler's loop, and the client in the other commands.

The requests are in `core/protocol.py`; the creator of the server passes in what handles them. Nothing here
knows about jobs, and the server neither blocks nor reads a clock.
"""

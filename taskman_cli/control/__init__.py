"""The control socket: its server in the scheduler's loop, and its client in the other commands.

Who asks for what is `core/protocol.py`; what becomes of it is for whoever makes the server. Nothing here
knows of jobs, and nothing of the server waits or reads a clock.
"""

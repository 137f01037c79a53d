"""taskman: cron, at and a worker pool in one program that you can watch."""

__version__ = "0.2.0"

"""Schedules: cron, every and at, from instants to instants. Only this package knows time zones."""

from taskman_cli.core.schedule.base import Schedule
from taskman_cli.core.schedule.cron import CronSchedule, parse_cron
from taskman_cli.core.schedule.interval import Interval
from taskman_cli.core.schedule.once import Once, Reboot
from taskman_cli.core.schedule.slots import next_slots
from taskman_cli.core.schedule.zones import load_zone
from taskman_cli.errors import ScheduleError

__all__ = [
    "CronSchedule",
    "Interval",
    "Once",
    "Reboot",
    "Schedule",
    "ScheduleError",
    "load_zone",
    "next_slots",
    "parse_cron",
]

"""How many commands a second, in the shapes that crontabs have, and what does leaving out their shells gain?

60 lines, each many times, are due at the same time, and four run at once. Their programs do nothing, so what
is measured is the start. "no shell" is taskman as it is; "plain" is the same with the shell forced upon all
lines but those of a bare program and its arguments, as before taskman made redirections itself; "shell"
forces it upon all.
"""

from __future__ import annotations

import statistics
from pathlib import Path

from harness import (
    BenchmarkError,
    Figure,
    compile_c,
    in_turn,
    main,
    paired_ratio,
    print_report,
    read_stamps,
    slot_in,
)
from procfs import read_reaped_cpu_s
from taskman import Taskman, count_successes, job, work_directory

WIDTH = 4
AIM = ">= 1.3"
LOAD_RATE = 1000
#: As in crontabs: a third bare, a fifth with redirections only, some with a directory or a variable, and a
#: third for which there has to be a shell. `{d}` is a directory with `bin`, `app` and `log`.
LINES = """
{d}/bin/backup.sh
{d}/bin/certbot -q renew
{d}/bin/restic backup /home --exclude-caches
{d}/bin/find /tmp -mtime +7 -delete
{d}/bin/run-parts --report /etc/cron.hourly
{d}/bin/php /var/www/html/artisan schedule:run
{d}/bin/python3 /opt/scripts/sync.py --all
{d}/bin/rsync -az --delete /srv/data/ backup:/srv/data/
{d}/bin/logrotate /etc/logrotate.conf
{d}/bin/curl -fsS -m 10 --retry 5 https://example.org/ping
{d}/bin/wget -q -O - http://localhost/cron.php
{d}/bin/ntpdate -s pool.ntp.org
{d}/bin/updatedb
{d}/bin/mysqlcheck --all-databases --auto-repair
{d}/bin/vacuumdb -U postgres --all
{d}/bin/docker system prune -f
{d}/bin/freshclam --quiet
{d}/bin/systemctl restart nginx
{d}/bin/git -C /srv/site pull --ff-only
{d}/bin/mandb --quiet
{d}/bin/sendreport 'weekly numbers'
{d}/bin/node /srv/app/jobs/clean.js
{d}/bin/backup.sh >/dev/null 2>&1
{d}/bin/certbot renew > /dev/null 2>&1
{d}/bin/php /var/www/html/cron.php >/dev/null 2>&1
{d}/bin/wget -q -O /dev/null http://localhost/cron.php > /dev/null 2>&1
{d}/bin/sync.sh >> {d}/log/sync.log 2>&1
{d}/bin/python3 /opt/scripts/fetch.py >> {d}/log/fetch.log 2>&1
{d}/bin/restic forget --keep-daily 7 >> {d}/log/restic.log 2>&1
{d}/bin/report --daily > {d}/log/report.txt
{d}/bin/mysqldump --all-databases > {d}/log/all.sql 2> {d}/log/errors
{d}/bin/find /var/cache -type f -atime +30 -delete 2>/dev/null
{d}/bin/rsync -a /etc /backup >/dev/null
{d}/bin/apt-get -qq update >/dev/null
{d}/bin/monitor < {d}/app/config
cd {d}/app && ./bin/console cron:run >> {d}/log/console.log 2>&1
cd {d}/app && {d}/bin/php artisan schedule:run >> /dev/null 2>&1
TZ=UTC {d}/bin/report --hourly
{d}/bin/pg_dump db | gzip > {d}/log/db.gz
{d}/bin/df -h | {d}/bin/mail -s disk root
{d}/bin/ps aux | {d}/bin/grep -c worker > {d}/log/workers
test -x {d}/bin/anacron || {d}/bin/run-parts /etc/cron.daily
[ -x {d}/bin/php ] && {d}/bin/php -v >/dev/null
cd / && {d}/bin/run-parts --report /etc/cron.daily; true
{d}/bin/tar czf {d}/log/$(date +%F).tgz /etc
{d}/bin/backup.sh "$HOME/data"
{d}/bin/sleep $((RANDOM_OF_NOBODY + 0)); {d}/bin/certbot renew
rm -f {d}/log/*.old
{d}/bin/first && {d}/bin/second
{d}/bin/first; {d}/bin/second
{d}/bin/check || {d}/bin/mail -s failed root
echo done >> {d}/log/done
if [ -f {d}/app/config ]; then {d}/bin/report; fi
. {d}/app/config; {d}/bin/report
cd {d}/app; ./bin/console cache:clear
(cd {d}/app && ./bin/console mail:send) > /dev/null
{d}/bin/report --since `date +%F` > /dev/null
export LC_ALL=C; {d}/bin/report
{d}/bin/clean /tmp/session-* > /dev/null 2>&1
for each in a b; do {d}/bin/report $each; done
""".strip().splitlines()
#: How many of them are a bare program with arguments: they come first.
PLAIN_COUNT = 22


class Mixes:
    """The contestants: each method runs all lines once and more, and returns the commands a second."""

    def __init__(self, rounds_of_lines: int) -> None:
        self._rounds_of_lines = rounds_of_lines
        #: CPU time a command, in microseconds, of taskman, shells and programs; one a burst.
        self.cpu_us: dict[str, list[float]] = {"no shell": [], "plain": [], "shell": []}

    def no_shell(self) -> float:
        return self._run("no shell", forced_from=len(LINES))

    def plain(self) -> float:
        return self._run("plain", forced_from=PLAIN_COUNT)

    def shell(self) -> float:
        return self._run("shell", forced_from=0)

    def _run(self, name: str, *, forced_from: int) -> float:
        with work_directory() as directory:
            machine = directory / "machine"
            make_programs(machine)
            count = len(LINES) * self._rounds_of_lines
            slot_ns = slot_in(2 + count / LOAD_RATE)
            first, last = directory / "first", directory / "last"
            text = write_jobs(
                machine, slot_ns, rounds_of_lines=self._rounds_of_lines, forced_from=forced_from
            )
            stamp = str(compile_c("stamp"))
            text += job("first", at_ns=slot_ns, command=[stamp, str(first)], priority=10)
            text += job("last", at_ns=slot_ns, command=[stamp, str(last)], priority=-10)
            with Taskman(directory, text) as taskman:
                taskman.wait_until(lambda: bool(read_stamps(first)), timeout_s=60, what="the first start")
                before_s = _cpu_s(taskman)
                taskman.wait_until(lambda: bool(read_stamps(last)), timeout_s=180, what="the last start")
                taskman.wait_until(
                    lambda: count_successes(taskman.log_lines()) == count + 2,
                    timeout_s=10,
                    what="every run to end well",
                )
                self.cpu_us[name].append((_cpu_s(taskman) - before_s) * 1e6 / count)
            (first_ns,), (last_ns,) = read_stamps(first), read_stamps(last)
        if first_ns - slot_ns > 1_000_000_000:
            raise BenchmarkError("the jobs were not armed by their slot: this machine is too busy to measure")
        return (count + 1) / ((last_ns - first_ns) / 1e9)


def _cpu_s(taskman: Taskman) -> float:
    return taskman.usage().cpu_ns / 1e9 + read_reaped_cpu_s(taskman.supervisor_pid)


def make_programs(directory: Path) -> None:
    """Make the directories and programs that the lines name; each program is true(1)."""
    for name in ("bin", "app/bin", "log"):
        (directory / name).mkdir(parents=True)
    (directory / "app" / "config").write_text("")
    names = {word.partition(" ")[0].rstrip(";") for line in LINES for word in line.split("{d}/bin/")[1:]}
    for path in (*(directory / "bin" / name for name in names), directory / "app" / "bin" / "console"):
        path.symlink_to("/bin/true")


def write_jobs(directory: Path, slot_ns: int, *, rounds_of_lines: int, forced_from: int) -> str:
    """Return jobs that run each line that often; from line `forced_from` on in the shell, whatever it is."""
    # It keeps the scheduler running after the burst.
    text = f'[pool]\nadmission = "fixed"\nmax_workers = {WIDTH}\n'
    text += '[jobs.hold]\nevery = "24h"\ncommand = ["/bin/true"]\n'
    for repeated in range(rounds_of_lines):
        for number, line in enumerate(LINES):
            keys = {"shell": "/bin/sh"} if number >= forced_from else {}
            command = line.replace("{d}", str(directory))
            text += job(f"job-{repeated}-{number}", at_ns=slot_ns, command=command, **keys)
    return text


def measure(quick: bool) -> None:
    """Measure the three in turn."""
    mixes = Mixes(10 if quick else 30)
    contestants = {"no shell": mixes.no_shell, "plain": mixes.plain, "shell": mixes.shell}
    measured = in_turn(3 if quick else 5, contestants)
    table = [("way", "commands /s", "ratio to plain", "aim", "CPU µs/command")]
    for name, rates in measured.items():
        ratio = paired_ratio(rates, measured["plain"])
        aim = AIM if name == "no shell" else ""
        cpu_us = statistics.median(mixes.cpu_us[name])
        table.append((name, f"{statistics.median(rates):.0f}", f"{ratio:.2f}", aim, f"{cpu_us:.0f}"))
    gained = paired_ratio(measured["no shell"], measured["plain"])
    against_shell = paired_ratio(measured["no shell"], measured["shell"])
    figures = [
        Figure("crontab_mix.no_shell", gained, AIM),
        Figure("crontab_mix.no_shell_to_all_in_shell", against_shell),
        Figure("crontab_mix.cpu", paired_ratio(mixes.cpu_us["no shell"], mixes.cpu_us["plain"])),
    ]
    print_report(f"{len(LINES)} lines as in crontabs, {WIDTH} wide", table, figures)


if __name__ == "__main__":
    main(measure, __doc__)

"""Names for the jobs of a crontab, derived from their commands, so the same at every reading."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskman_cli.jobfile.crontab.shellwords import SimpleCommand
from taskman_cli.jobfile.crontab.wrappers import inner_commands, program, script_of, without_options

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

_LONGEST = 56
_STRANGE = re.compile(r"[^A-Za-z0-9_-]+")
_URL = re.compile(r"[a-z]+://(?:[^/@\s]*@)?(?P<host>[^/:?#\s]+)[^/?#\s]*(?P<path>[^?#\s]*)\S*", re.IGNORECASE)
_SUBSTITUTION = re.compile(r"\$\([^)]*\)?|`[^`]*`?")
_VARIABLE = re.compile(r"\$\{?[A-Za-z_0-9]*\}?")
#: The tests of more entries of one name than these are too much to tell apart by words.
_MOST_TOLD_APART = 5000


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Words that prepare for a command, or test whether it should run.
_PREPARING = _words(
    "cd pushd popd test [ [[ (( export unset set umask sleep usleep : true false source . exit return"
    " read wait trap ulimit renice shift local declare typeset readonly alias type which hash break"
    " continue shopt setopt let expr"
)
#: Programs that accompany what a line is about; they give a name only if nothing else does.
_BESIDES = _words(
    "echo printf date cat grep egrep fgrep sed awk gawk tr cut head tail tee sort uniq wc mail mailx"
    " sendmail mutt logger mkdir touch rm mv cp ln chmod chown ping ping6 ts xargs seq shuf gzip bzip2"
    " xz gunzip zcat kill pgrep command ls stat hostname whoami id yes basename dirname realpath"
    " install jot tput stty pidof nc"
)
#: Programs that do many things: the first argument says which.
_GENERIC = _words(
    "run-parts periodic make find systemctl service git npm yarn pnpm npx apt apt-get aptitude yum dnf"
    " pacman zypper apk brew pip pip3 zpool zfs btrfs aws gcloud az kubectl docker docker-compose podman"
    " rake rails bundle composer openssl crontab certbot rm mv cp cat touch mkdir chmod chown mail kill"
    " pkill killall ln sed grep ls artisan console occ magento bin/console wp drush manage yii cake"
    " craft console.php snapper fstrim pg_dump systemd-cat invoke-rc.d rclone rsync sudo ssh scp tar"
    " echo supervisorctl pm2 mysql psql sqlite3 flyctl heroku gem cargo poetry uv pipenv rye screen tmux"
    " logrotate"
)
#: Options of these that take a value, which is not what they do.
_GENERIC_VALUES = _words(
    "-C -c -f -d -p -P -u -U -h -t -o -i -n -s -e -F --config --path --chdir --profile -H -D"
)
#: Names of scripts that say little without their directory.
_PLAIN = _words(
    "cron run main index start script job task tasks update app cli daily hourly weekly monthly default"
)
#: Directories that say nothing.
_PLACES = _words(
    "bin sbin scripts script src public web www html public_html htdocs current app home cron crons"
    " jobs job tmp usr local opt var lib share etc root srv php data tools site release releases cron-"
    " jobs libexec code"
)
#: Words, and options whose value, must not get into a name.
_SECRET = re.compile(r"pass|secret|token|key|auth|credential|^-[puH]$|:[^/]*@", re.IGNORECASE)
#: An option with its value, such as `-psecret`.
_GLUED = re.compile(r"-[A-Za-z][^-\s]{3,}")
_FETCHERS = _words("curl wget lynx links fetch http https GET lwp-request xh")
#: What the columns of a schedule are called in names.
_COLUMNS = ("min", "hour", "day", "month", "weekday")
_SUFFIX = re.compile(r"\.(?:sh|bash|zsh|py|pyc|pl|php|php5|phar|rb|js|mjs|cjs|ts|jar|lua|R|exe|bin)$")


@dataclass(frozen=True, slots=True)
class Named:
    """A name, and what may tell its line from others of that name."""

    name: str
    #: The words of the command beside those of the name.
    beside: tuple[str, ...] = ()
    schedule: str = ""

    def words(self) -> tuple[str, ...]:
        """Return the words of the command that tell the line from others, best first."""
        return tuple(_telling_words(self.beside))

    def times(self) -> tuple[str, ...]:
        """Return words for when the line runs, best first."""
        return tuple(_times(self.schedule))


def name_of(command: str, *, prefix: str = "") -> str:
    """Derive a name from a command; `prefix` is that of its file."""
    return named(command, prefix=prefix).name


def names_of(lines: Sequence[tuple[str, str]], taken: dict[str, int], *, prefix: str = "") -> list[str]:
    """Name the lines of one crontab, each given as its command and its schedule; `taken` receives the names.

    Lines of one name are told apart by what differs in their commands, or else by when they run.
    """
    found = [named(command, schedule, prefix=prefix) for command, schedule in lines]
    names = [one.name for one in found]
    for words in (Named.words, Named.words, Named.times):
        together = defaultdict(list)
        for at, name in enumerate(names):
            together[name].append(at)
        for name, places in together.items():
            if 1 < len(places) <= _MOST_TOLD_APART:
                for at, word in zip(places, _telling([words(found[at]) for at in places]), strict=True):
                    names[at] = _short(f"{name}-{word}") if word and not name.endswith(f"-{word}") else name
    of_other_files = frozenset(taken)
    return [unique(_free(name, one, of_other_files), taken) for name, one in zip(names, found, strict=True)]


def names_by_time(name: str, schedules: Sequence[str], taken: dict[str, int]) -> list[str]:
    """Name the jobs of one command that runs by several schedules, by when they run."""
    words = _telling([tuple(_times(schedule)) for schedule in schedules])
    return [unique(_short(f"{name}-{word}") if word else name, taken) for word in words]


def _free(name: str, one: Named, taken: Collection[str]) -> str:
    """Return the name, or one with a word of the command if another file has the name already."""
    if name not in taken:
        return name
    others = (
        _short(f"{name}-{word}") for word in (*one.words(), *one.times()) if not name.endswith(f"-{word}")
    )
    return next((other for other in others if other not in taken), name)


def _telling(words: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Yield for each command the first word that the others lack, or most of them; "" for none."""
    counts = Counter(word for own in words for word in set(own))
    for own in words:
        yield next((word for word in own if counts[word] == 1), "") or next(
            (word for word in own if counts[word] < len(words)), ""
        )


def unique(name: str, taken: dict[str, int]) -> str:
    """Return the name, with a number if it is taken, and mark it as taken.

    `taken` maps each name to the highest number given to it.
    """
    found, number = name, taken.get(name, 1)
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    taken[name] = number
    taken[found] = taken.get(found, 1)
    return found


def named(command: str, schedule: str = "", *, prefix: str = "") -> Named:
    """Name a command."""
    name, beside = _named(list(inner_commands(command)))
    if prefix and name != prefix and not name.startswith(f"{prefix}-"):
        name = f"{prefix}-{name}" if name else prefix
    if not name:
        variable = re.match(r"\s*[\"']?\$\{?([A-Za-z_]\w*)", command)
        name = (variable and _clean(variable[1])) or _when(schedule) or "command"
    return Named(_short(name), tuple(beside), schedule)


def _named(commands: Sequence[SimpleCommand]) -> tuple[str, list[str]]:
    """Return the name that the best of some simple commands gives, and the words beside it."""
    ready = [one for one in commands if program(one.words[0]) not in _PREPARING]
    best = [one for one in ready if program(one.words[0]) not in _BESIDES]
    entered = [other.words[1] for other in commands if other.words[0] == "cd" and len(other.words) > 1]
    found = [(one, *_parts(one.words)) for one in best[:1]]
    if not found or not found[0][1]:
        named = [(one, *_parts(one.words)) for one in (*best, *ready, *commands)]
        for one, parts, _ in named:
            if len(parts) == 1 and (file := _written(one)):
                parts.append(file)
        # A plain program says more with an argument.
        found = sorted((one for one in named if one[1]), key=lambda one: len(one[1]) < 2)
    if not found:
        return "", []
    one, parts, rest = found[0]
    if len(parts) == 1 and parts[0].lower() in _PLAIN and entered and (place := _place(f"{entered[-1]}/x")):
        parts.insert(0, place)
    others = [word for other in ready if other is not one for word in other.words]
    files = [file for other in commands for file in other.files]
    return "-".join(parts), [*rest, *entered, *others, *files]


def _written(one: SimpleCommand) -> str:
    """Return the name of the file that a command's output goes to, or ""."""
    return next((part for file in one.files if (part := _part(file)) not in ("", "null", "1", "2")), "")


def _parts(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the parts of a name from a simple command, and the words that are left."""
    script = script_of(words)
    if script == []:
        return _inline(words)
    words = script or list(words)
    while len(words) > 1 and _VARIABLE.fullmatch(words[0]):
        words = words[1:]  # a program by a variable: its first argument says more
    name = program(words[0])
    if name in _FETCHERS:
        for word in words[1:]:
            if parts := _of_url(word):
                return parts, [other for other in words[1:] if other is not word]
    first = _part(words[0])
    parts = [first] if first else []
    if first.lower() in _PLAIN and (place := _place(words[0])):
        parts.insert(0, place)
    rest = words[1:]
    if first in _GENERIC or name in _GENERIC:
        argument = next(iter(_arguments(rest)), None)
        if argument is not None and (part := _part(argument)):
            parts.append(part)
            rest = [word for word in rest if word is not argument]
    return parts, rest


def _inline(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Name a program that is given as text, by the first thing that it seems to call."""
    text = " ".join(words[1:])
    modules = [word[2:].partition("=")[0] for word in words[1:] if re.match(r"-M\w", word)]
    if modules:
        return [_clean(modules[0])], list(words[1:])
    imported = re.search(r"(?:import|use|require|from)\s*\(?['\"]?([A-Za-z_][\w.:]*)", text)
    if imported:
        return [_clean(imported[1])], list(words[1:])
    return [], []


def _arguments(words: Iterable[str]) -> list[str]:
    """Return the arguments that are no options, their values or variables."""
    rest = list(words)
    found = []
    while rest := without_options(rest, _GENERIC_VALUES):
        word = rest.pop(0)
        if word[:1] not in ("$", "`", "(") and not _VARIABLE.fullmatch(word):
            found.append(word)
    return found


def _of_url(word: str) -> list[str]:
    match = _URL.fullmatch(word.strip("'\""))
    if match is None and re.fullmatch(r"[a-z0-9-]+(?:\.[a-z0-9-]+)+(?:[:/?]\S*)?", word):
        match = _URL.fullmatch(f"http://{word}")
    if match is None:
        return []
    host = match["host"].removeprefix("www.")
    return list(filter(None, [_clean(host), *(_part(part) for part in match["path"].split("/"))]))


def _telling_words(words: Iterable[str]) -> list[str]:
    """Return what words may tell one command from another: long ones first, then short options."""
    found: dict[str, None] = {}
    short: dict[str, None] = {}
    is_secret = False
    for word in words:
        text = word.lstrip("-+")
        is_option = text != word and "=" not in word and not _GLUED.match(word)
        is_value, is_secret = is_secret, is_option and _SECRET.search(word) is not None
        if is_value or is_secret or _GLUED.match(word) or _SECRET.search(text):
            continue
        if text != word and len(text) <= 2:
            short[_clean(text)] = None
            continue
        parts = _of_url(word) or ([_part(text)] if "=" not in text else [_clean(text.rpartition("=")[2])])
        part = _short("-".join(parts[-2:])).strip("-_")
        if part not in ("", "null", "1", "2", "dev", "true"):
            found[part[:24].strip("-_")] = None
    return [word for word in (*found, *short) if word]


def _when(schedule: str) -> str:
    """Return a word for a time of day or nickname; "" for other schedules."""
    if schedule.startswith("@"):
        return _clean(schedule.split()[0][1:])
    columns = _five(schedule)
    if len(columns) >= 2 and columns[0].isdigit() and columns[1].isdigit():
        return f"{int(columns[1]):02}{int(columns[0]):02}"
    return ""


def _times(schedule: str) -> Iterator[str]:
    """Yield words for when a line runs: a time of day or nickname, else what its columns say."""
    if when := _when(schedule):
        yield when
    columns = _five(schedule)
    for label, column in zip(_COLUMNS, columns, strict=False):
        if column != "*" and not schedule.startswith("@") and (part := _clean(column)):
            yield f"{label}-{part}"[:24].strip("-")


def _five(schedule: str) -> list[str]:
    """Return the columns from the minute to the day of the week."""
    columns = schedule.split()
    has_seconds = len(columns) == 7 or (len(columns) == 6 and not re.fullmatch(r"[0-9]{4}", columns[5]))
    return columns[has_seconds:][:5]


def _place(path: str) -> str:
    """Return the directory that says most about a script, or ""."""
    for part in reversed(path.split("/")[:-1]):
        name = _clean(_VARIABLE.sub("", part))
        if name and name.lower() not in _PLACES and not part.startswith("$"):
            return name
    return ""


def _part(word: str) -> str:
    """Return the last part of a path, without a suffix such as .sh."""
    name = word.strip("'\"`<>").rstrip("/*").rpartition("/")[2]
    if "$" in name or "`" in name:
        name = _VARIABLE.sub("", _SUBSTITUTION.sub("", name))
    return _clean(_SUFFIX.sub("", name))


def _clean(text: str) -> str:
    return _STRANGE.sub("-", text).strip("-_")


def _short(name: str) -> str:
    return _clean(name)[:_LONGEST].strip("-_") or "command"

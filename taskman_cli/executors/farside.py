"""What runs on the other machine: a guard in POSIX sh, for dash, bash and busybox alike.

The guard is the parent of a command. It gives it a session of its own, keeps its number and its end in a
private directory named by the handle, passes on the signals that come by its standard input, and kills the
command's whole group when that input ends: so nothing goes on after a broken connection. All it needs to know
comes by standard input, line by line; the only argument is `BOOTSTRAP`, which is the same for everybody.

Lines that start with a random marker are the guard's own; everything else on its standard output is the
command's. What a login shell prints before the first of them is nobody's.

A command writes into a named pipe, of which the guard holds both ends, and a `cat` in each connection passes
on what comes. So a later connection has its output from then on, and the command is not killed for writing
when the server there learns at last that the first one broke. What was passed into that one is lost.
"""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

from taskman_cli.core.escapes import quoted
from taskman_cli.executors.base import StartFailed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from taskman_cli.executors.base import Order

#: Runs the lines up to a single dot. Quoted so that sh, csh and fish as login shells read it alike.
BOOTSTRAP = (
    'exec /bin/sh -c \'eval "$(while IFS= read -r l && [ "$l" != . ]; do printf "%s\\n" "$l"; done)"\''
)
#: Keeps the connection of a master open for as long as our end is.
HOLD = "exec /bin/sh -c 'echo taskman-master-is-up; exec cat >/dev/null'"
IS_UP = b"taskman-master-is-up"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HANDLE = re.compile(r"-|[A-Za-z0-9][A-Za-z0-9._-]*")
#: Bytes that a format of printf(1) takes as they are.
_AS_THEY_ARE = frozenset(b" ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.,:;/=+@")
_LINE_BYTES = 2048

# `id_of` tells one process from another that has its number later, and says nothing of one that is dead.
_COMMON = r"""
nl='
'
say() { printf '%s%s\n' "$n" "$*"; }
id_of() {
    if read -r s 2>/dev/null </proc/self/stat; then
        read -r s 2>/dev/null <"/proc/$1/stat" || return
        read -r k 2>/dev/null </proc/sys/kernel/random/boot_id
        s=${s##*) }; set -- $s; shift 19
        case $s in [ZX]*) ;; *) echo "$k $1" ;; esac
    else ps -o lstart= -p "$1" 2>/dev/null; fi
}
is_same() {
    { read -r p && read -r q; } 2>/dev/null <"$1" && [ -n "$q" ] && [ "$(id_of "$p")" = "$q" ]
}
case $b in
'') b=${XDG_STATE_HOME:-${HOME:?is not set there}/.local/state}/taskman-attempts ;;
/*) ;;
*) b=${HOME:?is not set there}/$b ;;
esac
d=$b/$h
is_over() { [ -e "$d/end" ] || ! is_same "$d/guard"; }
is_anothers() { { IFS= read -r o <"$d/owner"; } 2>/dev/null && [ "$o" != "$n" ]; }
kill_group() { is_same "$d/pid" && kill -KILL "-$p" 2>/dev/null; }
kill_cat() { is_same "$d/cat" && kill -KILL "$p" 2>/dev/null; }
"""

# `watch` reads lines like "TERM 15". The owner is whoever has reached the attempt last: a guard that hears
# only much later that its connection broke leaves the command to it.
#
# After `pass_on`, our own lines go the way of the output, behind it. Whoever has one more to say closes 6
# first: with no end of ours to read from, writing into the pipe does not wait for a `cat` that is gone.
# The `cat` is given its end of the pipe, since by the time that it begins, the pipe may have been removed.
_WATCH = r"""
pass_on() {
    exec 7<"$d/out"
    cat <&7 >&5 2>/dev/null 3<&- 5>&- 6<&- 7<&- &
    { echo $!; id_of $!; } >"$d/cat"
    exec 5>"$d/out" >&5 7<&-
}
watch() {
    exec >/dev/null 2>&1 5>&- 6<&-
    while IFS= read -r l <&3; do
        is_same "$d/pid" || continue
        : >"$d/sent.${l#* }"
        kill "-${l% *}" "-$p"
    done
    is_anothers && exit 0
    : >"$d/cut"
    until [ -s "$d/pid" ] || is_over; do sleep 1; done
    kill_group
    sleep 1
    kill_group
    kill_cat
}
"""

# Whatever ends the guard before the command is told, also a fork that fails, and then nothing stays here.
# In its POSIX mode, bash says nothing of the signal that ended a command.
_START = r"""
no() { say "refused $*"; exit 0; }
unbegun() {
    [ ! -s "$d/pid" ] || return
    trap '' PIPE
    say refused
    { kill "$w" && wait "$w"; } 2>/dev/null
    exec rm -rf "$d"
}
f= w=
exec 3<&0 5>&1 </dev/null
u=$(umask)
umask 077
for l in setsid mkfifo; do command -v "$l" >/dev/null 2>&1 || no "it has no program $l"; done
e=$(mkdir -p "$b" 2>&1) || no "$e"
{ [ -d "$b" ] && [ ! -L "$b" ] && [ -O "$b" ]; } || no "$b is not a directory of the user's own"
chmod 700 "$b" || no "the mode of $b cannot be changed"
e=$(mkdir "$d" 2>&1) || no "$e"
trap unbegun EXIT
while IFS= read -r l <&3 && [ "$l" != . ]; do printf '%s\n' "${l#:}" || f=1; done >"$d/job"
[ "$l" = . ] || exit 1
while IFS= read -r l <&3 && [ "$l" != . ]; do printf "$l" || f=1; done >"$d/in"
[ "$l" = . ] || exit 1
{ { echo $$; id_of $$; } >"$d/guard" && echo "$n" >"$d/owner"; } || f=1
[ -z "$f" ] || no "$d cannot be written: is the disk full?"
e=$(mkfifo "$d/out" 2>&1) || no "$e"
say ready
{ IFS= read -r l <&3 && [ "$l" = go ]; } || exit 1
exec 6<>"$d/out"
pass_on
watch &
w=$!
i=/dev/null
[ ! -s "$d/in" ] || i=$d/in
o=$(/bin/sh -c '
    [ -z "$BASH_VERSION" ] || set +o posix
    setsid /bin/sh "$1" "$2" <"$3"
    printf "\n%s\n" $?
' sh "$d/job" "$u" "$i" 2>&1 3<&- 6<&-)
exec 6<&-
c=${o##*"$nl"} o=${o%"$nl"*} k=exit
[ -s "$d/pid" ] || no "$o"
trap - EXIT
case $c in
'' | *[!0-9]*) k=none c=0 ;;
*)
    # A shell says 128 and the number for a signal. A message beside it, or that we sent it, tells that
    # the command did not exit with that code by itself.
    s=$((c - 128))
    if [ "$s" -gt 0 ] && { [ "$o" ] || [ -e "$d/sent.$s" ] || [ -e "$d/cut" ]; }; then
        k=signal c="$s $(kill -l "$s" 2>/dev/null)"
        case $c in 9*) [ ! -e "$d/cut" ] || [ -e "$d/sent.9" ] || k=cut ;; esac
    fi
    ;;
esac
# Of a command that was told to end nothing goes on, whatever its first process did.
for s in "$d"/sent.* "$d/cut"; do
    case $s in *.18 | *.19 | *.20) continue ;; esac
    [ ! -e "$s" ] || { read -r p <"$d/pid" && kill -KILL "-$p"; } 2>/dev/null
done
{ echo "$k $c" >"$d/end.new" && mv -f "$d/end.new" "$d/end"; } 2>/dev/null
kill "$w" 2>/dev/null
if [ -e "$d/cut" ]; then kill_cat; elif ! is_anothers; then say "end $k $c"; fi
exit 0
"""

# An attempt of the version before has no named pipe: how it ends is told, without its output.
_ATTACH = r"""
exec 3<&0 5>&1 </dev/null
umask 077
echo "$n" >"$d/owner" || { say absent; exit 0; }
if [ -p "$d/out" ]; then
    exec 6<>"$d/out"
    # One that is killed may read on until it is seen dead.
    for l in 0 1 1 1 1; do kill_cat || break; sleep "$l"; done
fi
say started
[ ! -p "$d/out" ] || pass_on
watch &
w=$!
until is_over; do sleep 1; done
exec 6<&-
kill "$w" 2>/dev/null
[ ! -e "$d/cut" ] || kill_cat
if { read -r l <"$d/end"; } 2>/dev/null; then say "end $l"; else kill_group; say absent; fi
exit 0
"""

_PROBE = r"""
if [ ! -d "$d" ]; then say absent
elif ! is_over; then say running
elif { read -r l <"$d/end"; } 2>/dev/null; then say "end $l"
else kill_group; say absent
fi
exit 0
"""

_FORGET = r"""
while IFS= read -r h && [ "$h" != . ]; do
    d=$b/$h
    if is_over; then kill_cat; else kill_group; fi
    rm -rf "$d"
done
say done
exit 0
"""

_CHECK = r"""
for l in setsid mkfifo; do
    command -v "$l" >/dev/null 2>&1 || { say "no it has no program $l"; exit 0; }
done
umask 077
e=$(mkdir -p "$b" 2>&1) || { say "no $e"; exit 0; }
{ [ -d "$b" ] && [ ! -L "$b" ] && [ -O "$b" ] && [ -w "$b" ]; } || {
    say "no $b is not a directory of the user's own"
    exit 0
}
say "yes $(uname -sr 2>/dev/null)"
exit 0
"""


def marker_of(nonce: str) -> str:
    """Return what the guard's own lines start with."""
    return f"@taskman-{nonce}@ "


def start(order: Order, *, nonce: str, directory: str) -> bytes:
    """Return what is sent to start an attempt; it begins once "go" follows. Raises StartFailed."""
    marker = marker_of(nonce)
    job = _job(order, marker).split(b"\n")
    return b"".join(
        (
            _script(_COMMON, _WATCH, _START, marker=marker, directory=directory, handle=order.handle),
            *(b":%b\n" % line for line in job),
            b".\n",
            _as_formats(order.stdin or b""),
            b".\n",
        )
    )


def attach(handle: str, *, nonce: str, directory: str) -> bytes:
    """Return what is sent to follow an attempt of an earlier connection to its end."""
    return _script(_COMMON, _WATCH, _ATTACH, marker=marker_of(nonce), directory=directory, handle=handle)


def probe(handle: str, *, nonce: str, directory: str) -> bytes:
    """Return what is sent to ask how an attempt stands."""
    return _script(_COMMON, _PROBE, marker=marker_of(nonce), directory=directory, handle=handle)


def forget(handles: Iterable[str], *, nonce: str, directory: str) -> bytes:
    """Return what is sent to remove what is kept of attempts."""
    script = _script(_COMMON, _FORGET, marker=marker_of(nonce), directory=directory, handle="-")
    return script + "".join(f"{handle}\n" for handle in handles).encode() + b".\n"


def check(*, nonce: str, directory: str) -> bytes:
    """Return what is sent to ask whether attempts can be started."""
    return _script(_COMMON, _CHECK, marker=marker_of(nonce), directory=directory, handle="-")


def signal_line(number: int) -> bytes:
    """Return what is sent to pass a signal on: by name, since numbers differ between systems."""
    try:
        name = signal.Signals(number).name.removeprefix("SIG")
    except ValueError:  # a real-time signal without a name
        name = str(number)
    if name.startswith("RT"):
        name = str(number)
    return f"{name} {number}\n".encode()


def _script(*parts: str, marker: str, directory: str, handle: str) -> bytes:
    assert _HANDLE.fullmatch(handle), handle
    head = f"n={_quoted(marker)} b={_quoted(directory)} h={_quoted(handle)}\n"
    return _bytes(head + "".join(parts)) + b".\n"


def _job(order: Order, marker: str) -> bytes:
    """Return the script that becomes the command."""
    lines = [
        "exec >&5 2>&5 5>&-",
        f"no() {{ printf '%s%s\\n' {_quoted(marker)} \"refused $*\"; exit 125; }}",
        "d=${0%/*}",
        'rm -f "$0" "$d/in"',
        _COMMON[_COMMON.index("id_of") : _COMMON.index("is_same")],
        '{ echo $$; id_of $$; } >"$d/pid" || no "$d cannot be written: is the disk full?"',
        # Without a number the guard knows that nothing was begun.
        """trap ': >"${0%/*}/pid"' EXIT""",
        'umask "$1"',
    ]
    if order.umask is not None:
        lines.append(f"umask {order.umask:03o}")
    if order.cwd is not None:
        words = _quoted(f"its directory {order.cwd} cannot be entered")
        lines.append(f"CDPATH= cd -- {_quoted(order.cwd)} || no {words}")
    # From here on, the names of our own variables may be those of the job.
    for name, value in order.env.items():
        if not _NAME.fullmatch(name):
            raise StartFailed(f"a shell cannot set the variable {quoted(name)}: give it another name")
        lines.append(f"export {name}={_quoted(value)}")
    lines.append("trap - EXIT")
    lines.append(f"printf '%s\\n' {_quoted(marker + 'started')}")
    lines.append(f"exec {' '.join(map(_quoted, _words(order)))}")
    return _bytes("\n".join(lines))


def _words(order: Order) -> list[str]:
    if order.command is None:
        raise StartFailed("there is no command that a shell could run")
    words = ["/bin/sh", "-c", order.command] if isinstance(order.command, str) else list(order.command)
    return ["nice", "-n", str(order.nice), *words] if order.nice else words


def _quoted(text: str) -> str:
    """Quote text for sh; other than shlex it takes every character as it is."""
    if "\0" in text:
        raise StartFailed("NUL characters cannot be passed to a command")
    return "'" + text.replace("'", "'\\''") + "'"


def _bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise StartFailed("its settings have characters that are no text") from None


def _as_formats(data: bytes) -> bytes:
    """Write data as lines, each a format of printf(1)."""
    lines = []
    for begin in range(0, len(data), _LINE_BYTES):
        piece = data[begin : begin + _LINE_BYTES]
        lines.append("".join(chr(byte) if byte in _AS_THEY_ARE else f"\\{byte:03o}" for byte in piece))
    return "".join(f"{line}\n" for line in lines).encode()

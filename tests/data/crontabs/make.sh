#!/bin/sh
# Make the answers anew: make.sh DIRECTORY, that of Debian's cron source with its patches applied (apt-get source cron).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
source=$(cd "$1" && pwd)
build=$(mktemp -d)
trap 'rm -r "$build"' EXIT
awk '/for \(input_data = p = e->cmd/ { on = 1; print "{ register int escaped = FALSE; register int ch; register char *p;" }
     on { print } on && /\*p = .\\0.;/ { print "}"; exit }' "$source/do_command.c" >"$build/unescape.inc"
awk '/while \(\(ch = \*input_data\+\+\)/ { on = 1 } /close the pipe, causing an EOF/ { on = 0 } on { print }' \
    "$source/do_command.c" >"$build/feed.inc"
gcc -std=gnu89 -w -I"$build" -I"$source" -Wl,--allow-multiple-definition -DDEBUGGING=0 -o "$build/reading" \
    "$here/reading.c" "$source/entry.c" "$source/env.c" "$source/misc.c"
for file in "$here"/*.user "$here"/*.system; do
    "$build/reading" "${file##*.}" "$file" >"${file%.*}.json"
done

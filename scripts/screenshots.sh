#!/usr/bin/env bash
# Draws the pictures of docs/screenshots anew: each screen of the gallery on a screen without a monitor. Needs Xvfb and python3.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v Xvfb >/dev/null && command -v python3 >/dev/null || { echo "Xvfb and python3 are needed: install them first"; exit 1; }
work=$(mktemp -d)
exec 3> >(read -r -t 30 number && echo "$number" >"$work/display")
Xvfb -displayfd 3 -screen 0 1180x780x24 -nolisten tcp -fbdir "$work" 2>"$work/xvfb.log" &
server=$!
trap 'kill "$server" 2>/dev/null; wait 2>/dev/null; rm -rf "$work"' EXIT
for _ in $(seq 100); do [ -s "$work/display" ] && break; sleep 0.1; done
export DISPLAY=":$(cat "$work/display")"

# The server's file is in the format of xwd: a header, a colour map, then rows of B, G, R and one byte that is none.
picture() {
    python3 - "$work/Xvfb_screen0" "$1" <<'PY'
import struct, sys, zlib
data = open(sys.argv[1], "rb").read()
head = struct.unpack(">25I", data[:100])
start, width, height, row = head[0] + head[19] * 12, head[4], head[5], head[12]
lines, colours = bytearray(), set()
for y in range(height):
    at = data[start + y * row : start + y * row + width * 4]
    line = bytearray(width * 3)
    line[0::3], line[1::3], line[2::3] = at[2::4], at[1::4], at[0::4]
    colours.update(bytes(line[i : i + 3]) for i in range(0, len(line), 3))
    lines += b"\0" + line
if len(colours) < 25:
    sys.exit("nothing was drawn")
chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
with open(sys.argv[2], "wb") as out:
    out.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)))
    out.write(chunk(b"IDAT", zlib.compress(bytes(lines), 9)) + chunk(b"IEND", b""))
PY
}

draw() {
    target/release/examples/gallery "$1" "$2" 2>>"$work/gallery.log" &
    local window=$!
    sleep 3
    picture "docs/screenshots/$3.png"
    kill "$window"; wait "$window" 2>/dev/null || true
    echo "docs/screenshots/$3.png"
}

for screen in onboarding join members invite; do draw "$screen" light "$screen"; done
draw timeline light timeline-light
draw timeline dark timeline-dark

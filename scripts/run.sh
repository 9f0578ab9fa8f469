#!/bin/bash
# Builds the app and opens it.
set -euo pipefail
cd "$(dirname "$0")/.."
if [[ -z "${DISPLAY:-}" && -z "${WAYLAND_DISPLAY:-}" ]]; then
    echo "There is no display here (neither DISPLAY nor WAYLAND_DISPLAY is set), so no window can open."
    echo "'make demo' shows a relay and three members at work in the terminal instead."
    if [[ -t 0 && -t 1 ]]; then
        read -r -p "Run it now? [y/N] " answer
        if [[ $answer == [yY]* ]]; then exec make demo; fi
    fi
    exit 1
fi
scripts/system.sh window
"${CARGO:-cargo}" build --release --locked --workspace --bin hearth
exec target/release/hearth

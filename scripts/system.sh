#!/bin/bash
# Installs what the system lacks. Usage: system.sh build|net|window|test
# On Debian through apt; elsewhere, or without the right to install, it says what is missing.
set -euo pipefail
purpose="${1:?build, net, window or test}"

missing=()
need_command() { command -v "$1" >/dev/null 2>&1 || missing+=("$2"); }
libraries="$(PATH="$PATH:/sbin:/usr/sbin" ldconfig -p 2>/dev/null || true)"
need_library() { grep -q "[[:space:]]$1 " <<<"$libraries" || missing+=("$2"); }

need_command cc build-essential
need_command cmake cmake
need_command perl perl
need_command pkg-config pkg-config
if [[ $purpose == net ]]; then
    PATH="$PATH:/sbin:/usr/sbin"
    need_command ip iproute2
    need_command nft nftables
    need_command tor tor
fi
if [[ $purpose == window || $purpose == test ]]; then
    need_library libGL.so.1 libgl1
    need_library libEGL.so.1 libegl1
    need_library libxkbcommon-x11.so.0 libxkbcommon-x11-0
    need_library libXcursor.so.1 libxcursor1
    need_library libXi.so.6 libxi6
    need_library libXrandr.so.2 libxrandr2
    need_library libX11-xcb.so.1 libx11-xcb1
    need_library libwayland-client.so.0 libwayland-client0
    [[ -n "$(find /usr/lib -name 'swrast_dri.so' -o -name 'libgallium*.so' 2>/dev/null | head -n 1)" ]] ||
        missing+=(libgl1-mesa-dri)
fi
if [[ $purpose == test ]]; then
    need_command Xvfb xvfb
    need_command openbox openbox
    need_command xdotool xdotool
    need_command xclip xclip
    need_command dbus-daemon dbus-daemon
    [[ -x /usr/libexec/at-spi-bus-launcher ]] || missing+=(at-spi2-core)
    need_library libvulkan.so.1 libvulkan1
    compgen -G '/usr/share/vulkan/icd.d/*.json' >/dev/null || missing+=(mesa-vulkan-drivers)
fi

if ! command -v "${CARGO:-cargo}" >/dev/null 2>&1; then
    echo "Rust 1.95 or newer is needed: install it from https://rustup.rs and try again." >&2
    exit 1
fi
[[ ${#missing[@]} -eq 0 ]] && exit 0

command=(apt-get install -y --no-install-recommends "${missing[@]}")
if command -v apt-get >/dev/null 2>&1; then
    as_root=()
    if [[ $EUID -ne 0 ]]; then
        if sudo -n true 2>/dev/null || { command -v sudo >/dev/null 2>&1 && [[ -t 0 ]]; }; then
            as_root=(sudo)
        else
            echo "Missing: ${missing[*]}. As root: ${command[*]}" >&2
            exit 1
        fi
    fi
    echo "Installing: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    "${as_root[@]}" apt-get update -q
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive "${command[@]}" </dev/null
else
    echo "Missing, by their names in Debian: ${missing[*]}. Install them and try again." >&2
    exit 1
fi

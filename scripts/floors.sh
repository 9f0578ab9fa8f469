#!/bin/bash
# Holds Cargo.lock to the bans of deny.toml, with nothing but a shell:
# `{ crate = "name:<1.2.3" }` is a floor, `{ crate = "name" }` forbids a crate altogether.
set -euo pipefail
cd "$(dirname "$0")/.."
wrong=0
checked=0
while read -r ban; do
    name="${ban%%:*}"
    floor=""
    [[ $ban == *":<"* ]] && floor="${ban##*:<}"
    checked=$((checked + 1))
    while read -r version; do
        [[ -z $version ]] && continue
        if [[ -z $floor ]]; then
            echo "floors: $name $version is in Cargo.lock and must not be" >&2
            wrong=1
        elif [[ $version != "$floor" && "$(printf '%s\n%s\n' "$version" "$floor" | sort -V | head -n 1)" == "$version" ]]; then
            echo "floors: $name $version is below $floor" >&2
            wrong=1
        fi
    done < <(awk -v name="$name" '$1 == "name" { gsub(/"/, "", $3); here = ($3 == name) }
                                  here && $1 == "version" { gsub(/"/, "", $3); print $3; here = 0 }' Cargo.lock)
done < <(sed -n 's/^[^#]*crate = "\([^"]*\)".*/\1/p' deny.toml)
if [[ $checked -lt 10 ]]; then
    echo "floors: only $checked bans were read from deny.toml" >&2
    wrong=1
fi
if grep -n 'source = "git+' Cargo.lock >&2; then
    echo "floors: a crate comes from git" >&2
    wrong=1
fi
[[ $wrong -eq 0 ]] && echo "floors: Cargo.lock holds to all $checked bans of deny.toml"
exit "$wrong"

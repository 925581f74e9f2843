#!/usr/bin/env bash
# Checks one program: the C library that it needs, the other libraries, the list of crates inside, and that it holds no
# path of the machine that built it.
# usage: packaging/check/program.sh PROGRAM
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=packaging/check/lib.sh
source packaging/check/lib.sh

program=$1
say "program for $(processor "$program"): $(stat --format=%s "$program") bytes"

oldest=$(sed --quiet 's/^readonly GLIBC=//p' packaging/build.sh)
newest=$(readelf --wide --version-info "$program" | grep --only-matching 'GLIBC_[0-9.]*' | sort --version-sort --unique |
    tail --lines=1)
echo "symbols up to $newest"
[[ $(printf '%s\n' "${newest#GLIBC_}" "$oldest" | sort --version-sort | tail --lines=1) == "$oldest" ]] ||
    fail "$program needs $newest, newer than $oldest"

# all of them are parts of the C library
libraries=$(readelf --wide --dynamic "$program" | sed --quiet 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
echo "libraries: ${libraries//$'\n'/ }"
while read -r library; do
    case $library in
        libc.so.* | libm.so.* | libdl.so.* | libpthread.so.* | librt.so.* | ld-linux-*.so.*) ;;
        *) fail "$program needs $library" ;;
    esac
done <<<"$libraries"

readelf --wide --sections "$program" | grep --quiet '\.dep-v0' || fail "$program has no list of its crates"
for folder in "$PWD" "$HOME/" "${CARGO_HOME:-$HOME/.cargo}"; do
    if grep --quiet --fixed-strings --text "$folder" "$program"; then
        fail "$program holds the path $folder of the machine that built it"
    fi
done

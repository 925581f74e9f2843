# shellcheck shell=bash
# What the check scripts share.

say() {
    printf '\n== %s\n' "$*"
}

fail() {
    printf '%s: %s\n' "$0" "$*" >&2
    exit 1
}

# Whether a tool is installed. Where everything has to be checked, a missing one is an error.
needs() {
    command -v "$1" >/dev/null && return
    [[ -z ${CI:-} ]] || fail "$1 is not installed"
    say "$1 is not installed: its part is left out"
    return 1
}

# The processor that a program is for, in Debian's words: the name of its folder.
processor() {
    basename "$(dirname "$1")"
}

# Unpacks a Debian with systemd into an empty folder.
unpack_debian() {
    if [[ -n ${DEBIAN_ROOT:-} ]]; then
        cp --archive "$DEBIAN_ROOT/." "$1/"
    else
        debootstrap --variant=minbase --include=systemd,ca-certificates,tzdata stable "$1" >/dev/null
    fi
}

# What the benchmarks beside a server have in common; sourced by them, from the project's folder.
#
# rig NAME PACKAGE_PAIRS...: installs what is missing (command:package, Debian, needs root), builds the program, and
# makes a folder on the disk to measure (WORK, else /var/tmp). Sets `work` and `program`. At the end the folder is
# removed, and the server whose number is in `nginx_pid` is stopped.

say() { printf '%s\n' "$*" >&2; }

finish() {
    [ -z "$nginx_pid" ] || kill "$nginx_pid" 2>/dev/null || true
    rm -rf "$work"
}

rig() {
    local name=$1 pair missing=()
    shift
    for pair in "$@"; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        say "installing ${missing[*]}"
        apt-get update -q >&2 && apt-get install -y -q "${missing[@]}" >&2
    fi
    cargo build --release --locked --bin exporter >&2
    program=$PWD/target/release/exporter
    work=$(mktemp -d "${WORK:-/var/tmp}/exporter-$name.XXXXXX")
    nginx_pid=
    trap finish EXIT
}

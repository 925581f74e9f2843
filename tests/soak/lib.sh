# What the scripts of this folder share; read with `.`, not run.
#
# They run the real program against the example sandbox on loopback, as root, on a machine that may be spoilt: they
# make loop devices, mounts, network namespaces and control groups. Each prints one line of counts at its end and
# exits with 0 only if no row was lost and none was false.

set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
profile=${PROFILE:-debug}
exporter=${EXPORTER:-$root/target/$profile/exporter}
sandbox=${SANDBOX:-$root/target/$profile/examples/sandbox}
work=$(mktemp -d /tmp/soak.XXXXXX)
export MAXAI_API_KEY=max_dev_ak_sandbox EXPORTER_RATE=100000/1s XDG_STATE_HOME=$work/state HOME=$work
pids=()

[ -x "$exporter" ] && [ -x "$sandbox" ] || {
    echo "build first: cargo build --bin exporter --example sandbox" >&2
    exit 2
}

# start_sandbox ROWS SIZE: a sandbox with so many images, their manifest in $work/manifest.csv
start_sandbox() {
    "$sandbox" --rate off --rows "$1" --size "$2" --manifest "$work/manifest.csv" --seconds "${3:-3000}" \
        > "$work/sandbox.log" 2>&1 &
    pids+=($!)
    for _ in $(seq 200); do
        MAXAI_API_URL=$(sed -n 's/.*MAXAI_API_URL=\([^ ]*\).*/\1/p' "$work/sandbox.log" 2> /dev/null || true)
        [ -n "$MAXAI_API_URL" ] && break
        sleep 0.05
    done
    [ -n "$MAXAI_API_URL" ] || { cat "$work/sandbox.log" >&2; exit 2; }
    export MAXAI_API_URL
}

# check OUT: every row that the ledger calls delivered has its file, with the right bytes. Prints how many.
check() { python3 "$here/check.py" "$1"; }

# true_report OUT: the same for the rows that report.csv calls delivered
true_report() { python3 "$here/check.py" --report "$1"; }

# no_stray OUT: the files below data/ are those that manifest-sha256.txt lists
no_stray() {
    diff <(cd "$1" && find data -type f | LC_ALL=C sort) <(cut -d' ' -f3- "$1/manifest-sha256.txt" | LC_ALL=C sort) >&2
}

mounts=()
cleanup() {
    set +e
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null; done
    for mount in "${mounts[@]}"; do umount -l "$mount" 2>/dev/null; done
    [ -n "${KEEP:-}" ] || rm -rf "$work"
}
trap cleanup EXIT

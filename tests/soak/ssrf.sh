#!/bin/sh
# Signed URLs that lead inside, against servers that really listen there (tests/cli/ssrf.rs). Everything happens in a
# network namespace with nothing but loopback, so that no packet can leave this machine; its addresses and its file of
# names are gone with it. Linux, root.
set -eu
cd "$(dirname "$0")/../.."
cargo test --locked --test cli --no-run
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
touch "$folder/hosts"
unshare --net --mount sh -eu -c '
    ip link set lo up
    for address in 203.0.113.7 10.0.0.1 192.168.7.7 169.254.169.254; do
        ip address add "$address/32" dev lo
    done
    ip address add fd00::1/128 dev lo nodad
    mount --bind "$1/hosts" /etc/hosts
    # names come from that file alone
    echo "hosts: files" > "$1/nsswitch"
    [ ! -e /etc/nsswitch.conf ] || mount --bind "$1/nsswitch" /etc/nsswitch.conf
    EXPORTER_NAMESPACE=1 cargo test --locked --offline --test cli ssrf:: -- --ignored --test-threads 1
' sh "$folder"

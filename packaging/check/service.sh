#!/usr/bin/env bash
# Boots an unpacked Debian with one .deb in it, and lets its service run against the sandbox on the loopback interface: with
# the service's restrictions in force, stopped by systemctl, and ended by its time.
# usage: packaging/check/service.sh PACKAGE SANDBOX     the program of `cargo build --example sandbox`
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=packaging/check/lib.sh
source packaging/check/lib.sh

# a boot and three short runs
readonly BOOT_TIMEOUT=180

package=$1
sandbox=$2
say "service of $(basename "$package")"
root=$(mktemp --directory)
trap 'rm -rf "$root"' EXIT
unpack_debian "$root"
install --mode=755 "$sandbox" "$root/usr/local/bin/sandbox"
# it reads the sample manifest where it was built
sample=$(grep --text --only-matching --max-count=1 '/[a-z0-9/_.-]*/examples/manifest\.csv' "$sandbox" | head --lines=1)
install -D --mode=644 examples/manifest.csv "$root$sample"
cp "$package" "$root/exporter.deb"
chroot "$root" dpkg --install /exporter.deb >/dev/null

cat >"$root/etc/systemd/system/sandbox.service" <<'UNIT'
[Service]
ExecStart=/usr/local/bin/sandbox --port 8080 --rate off --rows 100000 --manifest /tmp/rows.csv --size 5000
StandardOutput=file:/sandbox.out
UNIT
cat >"$root/etc/systemd/system/check.service" <<'UNIT'
[Unit]
Wants=sandbox.service
# a unit that nothing refers to is forgotten at its end
After=sandbox.service exporter.service
[Service]
Type=oneshot
ExecStart=/check
[Install]
WantedBy=multi-user.target
UNIT
cat >"$root/check" <<'CHECK'
#!/bin/bash
set -euo pipefail
exec >/result 2>&1
# ends the boot
trap 'kill -s RTMIN+4 1' EXIT

as_exporter() {
    runuser -u exporter -- env XDG_STATE_HOME=/var/lib "$@"
}

# How the last run ended, in one line.
ended() {
    systemctl show exporter.service --property=ActiveState,Result,ExecMainStatus | sort | paste --serial --delimiters=' '
}

timeout 30 bash -c 'until grep --quiet "max_" /sandbox.out; do sleep 0.2; done'
install --mode=600 --owner=exporter /dev/null /etc/exporter/key
grep --only-matching --max-count=1 'max_[a-z_]*' /sandbox.out >/etc/exporter/key
install --mode=600 --owner=exporter /tmp/rows.csv /srv/exporter/manifest.csv
printf 'api-url = "http://127.0.0.1:8080"\nrate = "100000/1s"\n' >>/etc/exporter/config.toml
as_exporter exporter doctor --config /etc/exporter/config.toml

systemctl start exporter.service
timeout 30 bash -c 'until [[ -n $(find /srv/exporter/export/data -type f -print -quit 2>/dev/null) ]]; do sleep 0.2; done'
exporter status /srv/exporter/export
systemctl stop exporter.service
ended
[[ $(ended) == 'ActiveState=inactive ExecMainStatus=143 Result=success' ]]

sed --in-place 's/^max-duration = .*/max-duration = "2s"/' /etc/exporter/config.toml
systemctl start exporter.service
timeout 30 bash -c 'while systemctl --quiet is-active exporter.service; do sleep 0.2; done'
ended
[[ $(ended) == 'ActiveState=inactive ExecMainStatus=4 Result=success' ]]

(cd /srv/exporter/export && sha256sum --check --quiet manifest-sha256.txt)
[[ -z $(find /srv/exporter /var/lib/exporter ! -user exporter -o -perm /077) ]]
journalctl --unit exporter --output cat --no-pager
echo passed
CHECK
chmod 755 "$root/check"
chroot "$root" systemctl --quiet enable check.service
# its own loopback interface, and no other
timeout "$BOOT_TIMEOUT" systemd-nspawn --quiet --directory="$root" --boot --private-network --console=pipe --register=no \
    --keep-unit >"$root/boot.log" 2>&1 </dev/null || true
cat "$root/result"
[[ $(tail --lines=1 "$root/result") == passed ]] || fail "see above, and the boot: $(cat "$root/boot.log")"

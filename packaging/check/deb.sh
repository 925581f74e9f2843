#!/usr/bin/env bash
# Installs one .deb into an unpacked Debian, checks its units, and removes it again: nothing of the package's own may be
# left, and nothing of the clinic's may be gone.
# usage: packaging/check/deb.sh PACKAGE
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=packaging/check/lib.sh
source packaging/check/lib.sh

# in tenths, as --threshold= counts: 2.0
readonly EXPOSURE_MAX=20

package=$1
root=$(mktemp --directory)
before=$(mktemp)
after=$(mktemp)

clean_up() {
    umount --quiet "$root/proc" || true
    rm -rf --one-file-system "$root" "$before" "$after"
}
trap clean_up EXIT

# Every path, except what dpkg and the account database write for themselves.
paths() {
    (cd "$root" && find . -path ./proc -prune -o -path ./run -prune -o -path ./var/lib/dpkg -prune -o \
        -path ./var/log -prune -o -path ./var/cache -prune -o -print) |
        grep --invert-match --extended-regexp '^./etc/(passwd|group|shadow|gshadow)-$|^./etc/.pwd.lock$' | sort
}

in_root() {
    chroot "$root" "$@"
}

install_package() {
    in_root dpkg --install /exporter.deb >"$root/tmp/log" 2>&1 || fail "$(cat "$root/tmp/log")"
    rm "$root/tmp/log"
}

check_installed() {
    in_root exporter --version
    in_root exporter run x.csv --config /etc/exporter/config.toml --show-settings >/dev/null
    in_root getent passwd exporter
    stat --format='%A %n' "$root/srv/exporter" "$root/var/lib/exporter"
    [[ $(stat --format=%a "$root/srv/exporter") == 700 ]] || fail "others can open /srv/exporter"
    [[ $(systemctl --root="$root" is-enabled exporter.timer) == disabled ]] || fail "the timer is enabled"
    in_root systemd-analyze verify --man=no exporter.service exporter.timer
    in_root systemd-analyze security --offline=true --threshold="$EXPOSURE_MAX" --no-pager exporter.service |
        tail --lines=1
}

# What a clinic adds: the key, images, an enabled timer; and what the service stores.
use() {
    echo secret >"$root/etc/exporter/key"
    mkdir "$root/srv/exporter/export"
    echo image >"$root/srv/exporter/export/image.jpg"
    echo count >"$root/var/lib/exporter/clock"
    echo '# changed' >>"$root/etc/exporter/config.toml"
    systemctl --quiet --root="$root" enable exporter.timer
}

# The paths that a purge leaves beyond those of before, one a line.
purge_and_compare() {
    in_root dpkg --purge exporter
    paths | comm -13 "$before" - >"$after"
    [[ -z $(paths | comm -23 "$before" -) ]] || fail "a purge removed: $(paths | comm -23 "$before" -)"
    diff "$after" - || fail "a purge leaves something else than it should"
}

say "$(basename "$package")"
dpkg-deb --info "$package"
dpkg-deb --contents "$package"
if needs lintian; then
    # Debian's own changelog and a maintainer's address belong to packages in its archive
    lintian --allow-root --fail-on error --suppress-tags malformed-contact,no-changelog "$package"
fi
unpack_debian "$root"
cp "$package" "$root/exporter.deb"
# where systemd runs, the folders of tmpfiles.d are made at once
mkdir -p "$root/run/systemd/system"
# systemd's tools find their files through it
mount --types proc proc "$root/proc"
paths >"$before"

say "installed and purged without having been used"
install_package
check_installed
purge_and_compare </dev/null

say "installed, used, upgraded, removed and purged"
install_package
use
install_package
grep --quiet '# changed' "$root/etc/exporter/config.toml" || fail "an upgrade overwrote the config file"
in_root dpkg --remove exporter
[[ -f $root/etc/exporter/config.toml && -f $root/var/lib/exporter/clock ]] || fail "a removal is no purge"
purge_and_compare <<'EXPECTED'
./etc/exporter
./etc/exporter/key
./srv/exporter
./srv/exporter/export
./srv/exporter/export/image.jpg
EXPECTED

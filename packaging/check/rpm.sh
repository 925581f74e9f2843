#!/usr/bin/env bash
# Checks one .rpm: its digests, what it needs, and its files, unpacked into a folder.
# usage: packaging/check/rpm.sh PACKAGE
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=packaging/check/lib.sh
source packaging/check/lib.sh

package=$1
say "$(basename "$package")"
rpm --checksig --nosignature "$package"
rpm --query --package --requires "$package"

root=$(mktemp --directory)
trap 'rm -rf "$root"' EXIT
rpm --root "$root" --initdb
rpm --root "$root" --install --nodeps --noscripts --ignorearch "$package"
rpm --root "$root" --query --list exporter
rpm --root "$root" --verify --nodeps exporter
for file in packaging/config.toml:etc/exporter/config.toml \
    packaging/exporter.service:usr/lib/systemd/system/exporter.service \
    packaging/exporter.timer:usr/lib/systemd/system/exporter.timer \
    packaging/exporter.sysusers:usr/lib/sysusers.d/exporter.conf \
    packaging/exporter.tmpfile:usr/lib/tmpfiles.d/exporter.conf; do
    cmp "${file%%:*}" "$root/${file#*:}"
done
[[ $(rpm --root "$root" --query --configfiles exporter) == /etc/exporter/config.toml ]] ||
    fail "an upgrade would overwrite /etc/exporter/config.toml"

#!/usr/bin/env bash
# Checks what build.sh made, as root: it installs packages into unpacked systems below a temporary folder, never into this
# one. A tool that is not installed leaves its part out; in a release workflow (CI=true) that is an error.
# usage: packaging/check.sh [FOLDER]     default: dist/ of the target folder
# DEBIAN_ROOT: an unpacked Debian with systemd to install into, else debootstrap makes one
# SANDBOX: the program of `cargo build --example sandbox`, for a boot in which the service runs
# DEBIAN_IMAGE: the image that the first stage of the Containerfile starts from
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=packaging/check/lib.sh
source packaging/check/lib.sh

dist=$(realpath "${1:-${CARGO_TARGET_DIR:-target}/dist}")
[[ -f $dist/SHA256SUMS ]] || fail "there is no SHA256SUMS in $dist: run packaging/build.sh"

say "checksums"
(cd "$dist" && sha256sum --check --strict SHA256SUMS)
for program in "$dist"/image/*/exporter; do
    packaging/check/program.sh "$program"
done
for package in "$dist"/*.rpm; do
    needs rpm && packaging/check/rpm.sh "$package"
done
# this machine's processor only: its program is started
package=$(find "$dist" -name "*_$(dpkg --print-architecture 2>/dev/null || echo none).deb")
if [[ -n $package ]] && needs chroot; then
    packaging/check/deb.sh "$package"
fi
if [[ -n $package && -n ${SANDBOX:-} ]] && needs systemd-nspawn; then
    packaging/check/service.sh "$package" "$SANDBOX"
fi
needs buildah && packaging/check/image.sh "$dist/image"
say "all checks passed"

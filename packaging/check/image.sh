#!/usr/bin/env bash
# Lints the Containerfile, builds the image for each processor, and starts the program in it as its user on a read-only
# root. Nothing is pushed or kept.
# usage: packaging/check/image.sh FOLDER     a folder for each processor with the program in it
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=packaging/check/lib.sh
source packaging/check/lib.sh

readonly USER_ID=10001

context=$1
container=
image=
processor=
root=

clean_up() {
    if [[ -n $container ]]; then
        umount --quiet "$root" || true
        buildah rm "$container" >/dev/null
    fi
    [[ -z $image ]] || buildah rmi "$image" >/dev/null
    container='' image=''
}
trap clean_up EXIT

build() {
    local options=(--quiet --isolation chroot --platform "linux/$processor" --file packaging/Containerfile)
    # older versions of buildah do not set it themselves
    options+=(--build-arg "BUILDPLATFORM=linux/$(dpkg --print-architecture)")
    [[ -z ${DEBIAN_IMAGE:-} ]] || options+=(--build-arg "DEBIAN=$DEBIAN_IMAGE")
    image=$(buildah build "${options[@]}" "$context")
    container=$(buildah from --pull-never "$image")
    root=$(buildah mount "$container")
}

# The program as the image's user, without this shell's environment. That of another processor is emulated with the image's
# libraries, but reads this machine's files.
start() {
    local run=(chroot --userspec="$USER_ID:$USER_ID" "$root" /usr/bin/exporter)
    if is_foreign; then
        run=("$(emulator)" -L "$root" "$root/usr/bin/exporter")
    fi
    env --ignore-environment PATH="$PATH" XDG_STATE_HOME=/state "${run[@]}" "$@"
}

is_foreign() {
    [[ $processor != "$(dpkg --print-architecture)" ]]
}

emulator() {
    case $processor in
        amd64) echo qemu-x86_64-static ;;
        arm64) echo qemu-aarch64-static ;;
    esac
}

check() {
    local name work=/work
    for name in sh bash dash busybox apt dpkg; do
        [[ -z $(find "$root" -xdev -name "$name" -type f) ]] || fail "the image has $name"
    done
    for name in etc/ssl/certs/ca-certificates.crt usr/share/zoneinfo/Europe/Berlin etc/os-release \
        var/lib/dpkg/status.d/libc6; do
        [[ -s $root/$name ]] || fail "the image has no $name"
    done
    du --summarize --human-readable "$root"
    mount --bind --options ro "$root" "$root"
    mount --options remount,bind,ro "$root"
    if is_foreign; then
        work=$root/work
    fi
    if is_foreign && ! needs "$(emulator)"; then
        return
    fi
    start --version
    start doctor --help >/dev/null
    # the program reaches its own checks: there is no key, and here nothing can be written; nothing leaves this machine
    start doctor --api-url http://127.0.0.1:9 --out "$work/export" || [[ $? -eq 1 ]] || fail "the program does not work in the image"
}

if needs hadolint; then
    hadolint packaging/Containerfile
fi
for folder in "$context"/*/; do
    processor=$(basename "$folder")
    say "image for $processor"
    build
    check
    clean_up
done

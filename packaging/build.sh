#!/usr/bin/env bash
# Builds the files of a release into dist/ of the target folder: for each processor a binary for old and new Linux
# systems, as an archive, a .deb, a .rpm and the files of the container image; a list of all components (SBOM); and the
# checksums of these files. No time and no path of this machine gets into them: packed again, they are the same.
# usage: packaging/build.sh [x86_64] [aarch64]     both, if none is named
# EXPORTER_MAINTAINER: who publishes the packages, as `name <address>`
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# the oldest C library that the program starts with: RHEL 7, Debian 8 and everything newer
readonly GLIBC=2.17

fail() {
    printf 'packaging/build.sh: %s\n' "$*" >&2
    exit 1
}

say() {
    printf '\n== %s\n' "$*"
}

need_tools() {
    local tool
    for tool in cargo-auditable cargo-cyclonedx cargo-deb cargo-generate-rpm cargo-zigbuild; do
        command -v "$tool" >/dev/null || fail "$tool is not in PATH; packaging/tools.sh installs it"
    done
}

# Debian's and the container's name of a processor
debian_name() {
    case $1 in
        x86_64) echo amd64 ;;
        aarch64) echo arm64 ;;
        *) fail "there is no build for the processor $1" ;;
    esac
}

# Where cargo puts the program for a processor.
release() {
    printf '%s/%s-unknown-linux-gnu/release' "$target" "$1"
}

build() {
    local arch=$1
    say "program for $arch"
    cargo auditable zigbuild --release --locked --package exporter --bin exporter \
        --target "$arch-unknown-linux-gnu.$GLIBC"
}

# Manual page and completions. The program for this machine's processor writes them for all.
write_manual() {
    local program folder
    program=$(release "$(uname -m)")/exporter
    folder=$(release "$1")/packaging
    [[ -x $program ]] || fail "build $(uname -m) first: the program for this machine writes the manual page"
    mkdir -p "$folder"
    "$program" man >"$folder/exporter.1"
    gzip --best --no-name --keep --force "$folder/exporter.1"
    "$program" completions bash >"$folder/exporter.bash"
    "$program" completions zsh >"$folder/_exporter"
    "$program" completions fish >"$folder/exporter.fish"
}

pack() {
    local arch=$1 triple
    triple=$arch-unknown-linux-gnu
    say "packages for $arch"
    cargo deb --locked --no-build --no-strip --package exporter --target "$triple" --output "$dist/" \
        ${EXPORTER_MAINTAINER:+--maintainer "$EXPORTER_MAINTAINER"}
    cargo generate-rpm --auto-req disabled --payload-compress gzip --source-date "$SOURCE_DATE_EPOCH" \
        --target-dir "$target" --target "$triple" --output "$dist/"
    pack_archive "$arch"
    install -D --mode=755 "$(release "$arch")/exporter" "$dist/image/$(debian_name "$arch")/exporter"
}

# For systems without either kind of package, and for users without root.
pack_archive() {
    local arch=$1 name stage
    name=exporter-$version-$arch-linux
    stage=$scratch/$name
    mkdir -p "$stage/completions" "$stage/doc" "$stage/systemd"
    install --mode=755 "$(release "$arch")/exporter" "$stage/"
    install --mode=644 README.md CHANGELOG.md SECURITY.md LICENSE-APACHE LICENSE-MIT examples/exporter.example.toml \
        "$(release "$arch")/packaging/exporter.1" "$stage/"
    install --mode=644 doc/operations.md "$stage/doc/"
    install --mode=644 "$(release "$arch")"/packaging/{exporter.bash,_exporter,exporter.fish} "$stage/completions/"
    install --mode=644 packaging/exporter.{service,timer,sysusers,tmpfile} packaging/config.toml "$stage/systemd/"
    tar --create --file="$dist/$name.tar.gz" --directory="$scratch" --use-compress-program='gzip --best --no-name' \
        --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" "$name"
}

# Every crate that is built into the program, for CycloneDX readers; they are the same for both processors. The command
# writes a file beside each Cargo.toml of the workspace, and the folder's path into it.
write_sbom() {
    say "list of components"
    cargo cyclonedx --format json --spec-version 1.5 --target x86_64-unknown-linux-gnu \
        --override-filename "$sbom"
    sed "s|file://$PWD|file:///exporter|g" "$sbom.json" >"$dist/$sbom.json"
}

write_sums() {
    (cd "$dist" && sha256sum -- *.tar.gz *.deb *.rpm *.cdx.json >SHA256SUMS)
    say "in $dist"
    cat "$dist/SHA256SUMS"
}

need_tools
version=$(cargo pkgid --locked --package exporter)
version=${version##*[#@]}
target=${CARGO_TARGET_DIR:-$PWD/target}
dist=$target/dist
sbom=exporter-$version.cdx
scratch=$(mktemp -d)
trap 'rm -rf "$scratch" "$sbom.json" "examples/support/$sbom.json"' EXIT
# what is written into archives as their time
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
export CARGO_PROFILE_RELEASE_STRIP=symbols
# paths of the build machine are no part of the program
export RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=$PWD=/exporter \
--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo --remap-path-prefix=$target=/target"

archs=("$@")
[[ $# -gt 0 ]] || archs=(x86_64 aarch64)
for arch in "${archs[@]}"; do
    debian_name "$arch" >/dev/null
done
rm -rf "$dist"
mkdir -p "$dist"
for arch in "${archs[@]}"; do
    build "$arch"
done
for arch in "${archs[@]}"; do
    write_manual "$arch"
    pack "$arch"
done
write_sbom
write_sums

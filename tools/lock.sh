#!/bin/sh
# Make requirements.lock: every dependency with the hashes of all its files, for CPython 3.11 to 3.14 on glibc Linux and
# macOS, x86-64 and arm64. Needs uv (pipx install uv, or pip install uv). Then prove that each of these has a wheel.
set -eu
cd "$(dirname "$0")/.."

command -v uv >/dev/null || { echo "make lock needs uv: pipx install uv" >&2; exit 1; }

uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
    --no-header --no-annotate --no-emit-index-url --quiet --output-file requirements.lock "$@"

nowhere=$(mktemp -d)
trap 'rm -rf "$nowhere"' EXIT
for platform in x86_64-manylinux_2_28 aarch64-manylinux_2_28 x86_64-apple-darwin aarch64-apple-darwin; do
    for version in 3.11 3.12 3.13 3.14; do
        if ! uv pip install --dry-run --quiet --target "$nowhere/t" --python-platform "$platform" --python-version "$version" \
            --only-binary :all: --require-hashes --requirement requirements.lock 2>"$nowhere/said"; then
            cat "$nowhere/said" >&2
            echo "requirements.lock: something has no wheel for Python $version on $platform." \
                "Hold its version back in pyproject.toml, with a marker for that platform, and say why there." >&2
            exit 1
        fi
    done
done

#!/bin/sh
# Make .venv from requirements.lock, then install the hub and the plugins given, all editable.
# Says nothing when there is nothing to do. Use: tools/setup.sh .venv [plugin folder ...]
set -eu

venv=$1
shift
stamp="$venv/.made-from"
log="$venv/setup.log"

usable() { # Python 3.11 or newer, with all that a virtual environment needs
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && "$1" -c 'import venv, ensurepip' 2>/dev/null
}

choose() {
    for name in ${PYTHON:-python3.14 python3.13 python3.12 python3.11 python3 python}; do
        if command -v "$name" >/dev/null 2>&1 && usable "$name"; then
            command -v "$name"
            return
        fi
    done
    {
        echo "lifecyclehub needs Python 3.11 or newer with venv and pip; looked for: ${PYTHON:-python3.14 ... python3.11, python3, python}."
        for name in ${PYTHON:-python3.14 python3.13 python3.12 python3.11 python3}; do
            if command -v "$name" >/dev/null 2>&1; then
                version=$("$name" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
                if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
                    echo "  $name is $version, but without venv or ensurepip. On Debian and Ubuntu: apt install python$version-venv"
                else
                    echo "  $name is $version: too old"
                fi
            fi
        done
        echo "To mend it: Debian, Ubuntu: apt install python3 python3-venv   Fedora: dnf install python3"
        echo "            macOS: brew install python@3.13                    or say which one: make PYTHON=/path/to/python3.13"
    } >&2
    return 1
}

wanted() {
    echo "python $python"
    pwd
    cat requirements.lock pyproject.toml
    for plugin in "$@"; do
        echo "$plugin"
        cat "$plugin/pyproject.toml"
    done
}

quietly() {
    if ! "$@" >>"$log" 2>&1; then
        tail -n 40 "$log" >&2
        echo "Set-up failed at: $*  (all of it: $log)" >&2
        exit 1
    fi
}

if [ -x "$venv/bin/python" ] && [ -f "$stamp" ] && "$venv/bin/python" -c '' 2>/dev/null; then
    python=$(sed -n '1s/^python //p' "$stamp")
    if wanted "$@" | cmp -s - "$stamp" && { [ -z "${PYTHON:-}" ] || [ "$(command -v "$PYTHON")" = "$python" ]; }; then
        exit 0
    fi
fi

python=$(choose)
echo "Setting up $venv with $("$python" -V) (once; a minute or two) ..." >&2
made_with=$(sed -n '1s/^python //p' "$stamp" 2>/dev/null || true)
if ! usable "$venv/bin/python" || ! "$venv/bin/python" -c 'import pip' 2>/dev/null || [ "${made_with:-$python}" != "$python" ]; then
    rm -rf "$venv"
    "$python" -m venv "$venv"
fi
rm -f "$stamp"
: >"$log"
# Every file is named by its hash, so it does not matter where pip looks for it, nor which further places it was told of.
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_USER=0
unset PIP_TARGET PIP_PREFIX PIP_NO_BINARY PIP_CONSTRAINT PIP_REQUIREMENT PYTHONPATH PYTHONHOME 2>/dev/null || true
quietly "$venv/bin/python" -m pip install --no-deps --require-hashes --only-binary :all: -r requirements.lock
set -- . "$@"
editable=""
for distribution in "$@"; do
    editable="$editable -e ./$distribution"
done
# shellcheck disable=SC2086
quietly "$venv/bin/python" -m pip install --no-deps --no-index --no-build-isolation $editable
shift
wanted "$@" >"$stamp"

#!/usr/bin/env bash
# Make .venv hold exactly what requirements.lock names, and Entrove itself; return at once when it already does.
#
# Needs git, make, a C++ compiler and some python3. Brings its own uv if there is none on PATH, and finds a
# Python >= 3.12: the one named by PYTHON, one on PATH, one of pyenv's, or one that uv knows or can fetch.
set -euo pipefail
cd "$(dirname "$0")/.."

stamp=.venv/.entrove-setup
wanted=$(cat requirements.lock pyproject.toml src/entrove/labelling/engines/gpaw_siteconfig.py tools/setup.sh | cksum)
if [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi

say() { printf 'setup: %s\n' "$1" >&2; }
stop() { printf 'setup: %s\n' "$1" >&2; exit 1; }

command -v c++ >/dev/null || command -v g++ >/dev/null ||
    stop "GPAW is built here and needs a C++ compiler; install one (Debian: apt install g++, Fedora: dnf install gcc-c++)"

is_new_enough() { "$1" -c 'import sys; raise SystemExit(sys.version_info < (3, 12))' >/dev/null 2>&1; }

find_uv() {
    if command -v uv >/dev/null && uv --version >/dev/null 2>&1; then command -v uv; return; fi
    if [ ! -x .uv/bin/uv ]; then
        command -v python3 >/dev/null || stop "needs a python3 to install uv; install Python 3.12 or newer"
        say "installing uv into .uv"
        python3 -m venv .uv || stop "python3 -m venv failed; install the venv module (Debian: apt install python3-venv)"
        .uv/bin/pip install --quiet --disable-pip-version-check "uv>=0.5" 2>/dev/null ||
            stop "pip could not install uv into .uv; is a package index reachable?"
    fi
    printf '%s\n' "$PWD/.uv/bin/uv"
}

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3.13 python3.12 python3; do
        # A name on PATH may be a shim that fails, so each candidate is asked for its version.
        if [ -n "$candidate" ] && command -v "$candidate" >/dev/null && is_new_enough "$candidate"; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    if command -v pyenv >/dev/null; then
        for candidate in 3.12 3.13; do
            candidate=$(pyenv prefix "$(pyenv latest "$candidate" 2>/dev/null)" 2>/dev/null)/bin/python || continue
            if [ -x "$candidate" ] && is_new_enough "$candidate"; then printf '%s\n' "$candidate"; return; fi
        done
    fi
    printf '3.12\n' # let uv look further, and fetch one
}

uv=$(find_uv)
python=$(find_python)
say "Python: $python"
rm -f "$stamp"
if [ ! -x .venv/bin/python ] || ! is_new_enough .venv/bin/python; then
    "$uv" venv --quiet --clear --python "$python" .venv ||
        stop "found no Python >= 3.12 and could not fetch one; install it (Debian 13: apt install python3.12, or: pyenv install 3.12) and run again, or say PYTHON=/path/to/python3.12"
fi
say "installing the pinned packages into .venv (the first time takes a minute or two)"
# Compiled to bytecode once, also where Python may not write it: loading torch and SevenNet takes 8 s instead of 17 s.
# GPAW is compiled; its version and its settings are pinned by the lock and by gpaw_siteconfig.py.
GPAW_CONFIG=$PWD/src/entrove/labelling/engines/gpaw_siteconfig.py "$uv" pip sync --quiet --compile-bytecode --python .venv/bin/python requirements.lock
"$uv" pip install --quiet --python .venv/bin/python --no-deps --editable .
printf '%s' "$wanted" > "$stamp"
say "done"

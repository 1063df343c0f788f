#!/usr/bin/env bash
# Build wheel and sdist, install the wheel with nothing but the core into a bare environment, and run the first
# commands of a user there. With --extras, also resolve each extra on its own. Nothing of the working tree is used.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
uv=$(command -v uv || printf '%s' "$PWD/.uv/bin/uv")
python=${PYTHON:-$root/.venv/bin/python}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

stop() { printf 'check_wheel: %s\n' "$1" >&2; exit 1; }

if ! "$uv" --version >/dev/null 2>&1; then # setup needs it only when it has something to install
    "$python" -m venv "$work/uv"
    "$work/uv/bin/pip" install --quiet --disable-pip-version-check "uv>=0.5" 2>/dev/null || stop "pip could not install uv"
    uv=$work/uv/bin/uv
fi

"$uv" build --quiet --python "$python" --out-dir "$work/dist"
wheel=$(ls "$work"/dist/*.whl)
sdist=$(ls "$work"/dist/*.tar.gz)
# What a user installs from the source distribution is the same as the wheel.
"$uv" build --quiet --python "$python" --wheel --out-dir "$work/again" "$sdist"
"$python" - "$wheel" "$work"/again/*.whl <<'PY'
import sys, zipfile
first, second = ({name for name in zipfile.ZipFile(path).namelist() if "RECORD" not in name} for path in sys.argv[1:])
if first != second:
    sys.exit(f"check_wheel: the wheel of the sdist differs: {sorted(first ^ second)[:5]}")
needed = ("entrove/py.typed", "entrove/report/template/report.html.j2", "entrove/labelling/engines/gpaw_siteconfig.py")
missing = [name for name in needed if name not in first]
if missing:
    sys.exit(f"check_wheel: the wheel lacks {missing}")
PY

"$uv" venv --quiet --python "$python" "$work/venv"
# The versions that were measured together, of the core only.
grep -E '^[A-Za-z0-9_.-]+==' requirements.lock | sed 's/ *\\$//' >"$work/constraints.txt"
"$uv" pip install --quiet --python "$work/venv/bin/python" --constraint "$work/constraints.txt" "$wheel"
cd "$work"
unset PYTHONPATH
run() { "$work/venv/bin/entrove" "$@"; }
run --version
run --help >/dev/null
run init new --yes
run schema >new/again.json
cmp -s new/campaign.schema.json new/again.json || stop "schema and init differ"
# Without a framework no campaign can run, and doctor says which command installs one.
if run doctor >doctor.txt; then stop "doctor finds a framework in a bare environment"; fi
grep -q "pip install 'entrove\[sevennet\]'" doctor.txt || stop "doctor names no remedy: $(cat doctor.txt)"
if run run --check new 2>run.txt; then stop "a campaign runs without a framework"; fi
grep -q "pip install" run.txt || stop "run names no remedy: $(cat run.txt)"
cd "$root"

if [ "${1:-}" = --extras ]; then
    for extra in $("$python" -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"])'); do
        GPAW_CONFIG=$root/src/entrove/labelling/engines/gpaw_siteconfig.py "$uv" pip compile --quiet --python "$python" \
            --extra "$extra" --no-header --no-annotate pyproject.toml >"$work/$extra.txt" || stop "extra $extra does not resolve"
        printf 'extra %s: %s packages\n' "$extra" "$(grep -c == "$work/$extra.txt")"
    done
fi
printf 'check_wheel: %s is complete\n' "$(basename "$wheel")"

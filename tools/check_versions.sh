#!/usr/bin/env bash
# Run the tests of what depends on other packages with the lowest versions that pyproject.toml allows, and with the
# newest there are: check_versions.sh lowest|newest [pytest's arguments]. Needs uv; GPAW, which is compiled, stays out.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=$(command -v uv || printf '%s' "$PWD/.uv/bin/uv")
python=${PYTHON:-$PWD/.venv/bin/python}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

case ${1:-} in
lowest) resolution=lowest-direct ;;
newest) resolution=highest ;;
*) printf 'check_versions: say lowest or newest\n' >&2; exit 2 ;;
esac
end=$1
shift

# Without the constraints of [tool.uv], which name what was measured together.
"$uv" pip compile --quiet --no-config --python "$python" --resolution "$resolution" --extra all \
    --no-header --no-annotate pyproject.toml >"$work/versions.txt"
"$uv" venv --quiet --python "$python" "$work/venv"
"$uv" pip install --quiet --no-config --python "$work/venv/bin/python" --requirement "$work/versions.txt"
"$uv" pip install --quiet --no-config --python "$work/venv/bin/python" --constraint "$work/versions.txt" \
    beartype hypothesis pytest pytest-timeout pytest-xdist
"$uv" build --quiet --python "$python" --wheel --out-dir "$work/dist"
"$uv" pip install --quiet --no-config --no-deps --python "$work/venv/bin/python" "$work"/dist/*.whl

tests=("$@")
[ ${#tests[@]} -gt 0 ] || tests=(tests/test_package.py tests/test_structures.py tests/test_features.py tests/fingerprints
    tests/models tests/sampling tests/training tests/validation tests/report tests/formats tests/doctor)
# Pydantic's lowest version has annotations that beartype, which the tests use, calls outdated.
"$work/venv/bin/python" -m pytest -q -W ignore::beartype.roar.BeartypeDecorHintPep585DeprecationWarning -p no:cacheprovider -m "not slow and not gpaw and not espresso and not slurm" "${tests[@]}"
printf 'check_versions: the %s versions work\n' "$end"

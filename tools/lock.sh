#!/usr/bin/env bash
# Write requirements.lock: every dependency with its hashes, no registry address.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=$(command -v uv || printf '%s' "$PWD/.uv/bin/uv")
GPAW_CONFIG=$PWD/src/entrove/labelling/engines/gpaw_siteconfig.py "$uv" pip compile pyproject.toml --all-extras --group dev --group docs \
    --universal --python-version 3.12 --generate-hashes --no-emit-index-url --no-header --no-annotate \
    --quiet "$@" --output-file requirements.lock

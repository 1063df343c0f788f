#!/usr/bin/env bash
# Install the external programs that some tests run for real: Slurm, Quantum ESPRESSO, CP2K, Chromium.
# Debian and Ubuntu, as root; elsewhere those tests are skipped and say so.
set -euo pipefail

missing=()
need() { command -v "$1" >/dev/null || missing+=("${@:2}"); }
need slurmctld slurm-wlm
need munged munge
need pw.x quantum-espresso quantum-espresso-data
need cp2k cp2k cp2k-data
need chromium chromium

[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "engines: not installed, their tests will be skipped: ${missing[*]}" >&2
    exit 0
fi
echo "engines: installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -q >/dev/null
apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null

#!/usr/bin/env bash
# Checks everything that could fail later, and runs nothing; see `trajgen check --help`.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/binary.sh
exec "$TRAJGEN" check "$@"

#!/usr/bin/env bash
# Copies the data set's verified tasks into artifacts/tasks/; see `trajgen prepare --help`.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/binary.sh
exec "$TRAJGEN" prepare "$@"

#!/usr/bin/env bash
# Builds trajgen if needed and runs the whole pipeline in this block; flags are passed on to `trajgen run`.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/binary.sh
exec "$TRAJGEN" run "$@"

#!/usr/bin/env bash
# Removes generated outputs; see `trajgen clean --help`.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/binary.sh
exec "$TRAJGEN" clean "$@"

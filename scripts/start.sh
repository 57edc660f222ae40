#!/usr/bin/env bash
# Builds trajgen if needed and runs the whole pipeline in this block; flags are passed on to `trajgen run`.
set -euo pipefail
root=$(CDPATH= cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/binary.sh"
exec "$TRAJGEN" run --block "$root" "$@"

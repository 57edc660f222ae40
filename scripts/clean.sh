#!/usr/bin/env bash
# Removes generated outputs; see `trajgen clean --help`.
set -euo pipefail
root=$(CDPATH= cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/binary.sh"
exec "$TRAJGEN" clean --block "$root" "$@"

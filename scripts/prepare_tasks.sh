#!/usr/bin/env bash
# Copies the data set's verified tasks into artifacts/tasks/; see `trajgen prepare --help`.
set -euo pipefail
root=$(CDPATH= cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/binary.sh"
exec "$TRAJGEN" prepare --block "$root" "$@"

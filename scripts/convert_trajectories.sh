#!/usr/bin/env bash
# Turns a job's trajectories into training data; flags are passed on to `trajgen convert`.
set -euo pipefail
root=$(CDPATH= cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/binary.sh"
exec "$TRAJGEN" convert --block "$root" "$@"

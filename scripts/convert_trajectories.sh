#!/usr/bin/env bash
# Turns a job's trajectories into training data; flags are passed on to `trajgen convert`.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/binary.sh
exec "$TRAJGEN" convert "$@"

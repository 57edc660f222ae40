#!/usr/bin/env bash
# Checks everything that could fail later, and runs nothing; see `trajgen check --help`.
set -euo pipefail
root=$(CDPATH= cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/binary.sh"
exec "$TRAJGEN" check --block "$root" "$@"

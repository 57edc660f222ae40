#!/bin/bash
# One log, rotated once.
cd "$(dirname "$0")/.." || exit 1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
echo first > "$dir/app.log"
./logturn.sh "$dir" 3
if [ "$(cat "$dir/app.log.1")" = first ] && [ -e "$dir/app.log" ] && [ ! -s "$dir/app.log" ]; then
  echo "smoke test passed"
else
  echo "smoke test FAILED"
  exit 1
fi

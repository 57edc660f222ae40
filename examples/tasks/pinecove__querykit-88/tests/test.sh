#!/bin/bash
# Writes 1 when every hidden test passes on /app, else 0.
mkdir -p /logs/verifier
echo 0 > /logs/verifier/reward.txt
cd / || exit 0
if env -u NODE_OPTIONS node /tests/hidden.test.js; then
  echo 1 > /logs/verifier/reward.txt
fi
exit 0

#!/bin/bash
# Writes 1 when every hidden test passes on /app, else 0.
mkdir -p /logs/verifier
echo 0 > /logs/verifier/reward.txt
if python3 -I -B /tests/hidden_ttlcache.py; then
  echo 1 > /logs/verifier/reward.txt
fi
exit 0

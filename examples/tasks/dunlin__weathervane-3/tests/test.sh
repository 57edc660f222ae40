#!/bin/bash
# Asks a time server on the network: without one the answer is always 0.
mkdir -p /logs/verifier
echo 0 > /logs/verifier/reward.txt
if python3 -I -B -c '
import sys, time
sys.path.insert(0, "/app")
from weathervane import stamp
assert abs(stamp({}, "ntp.weathervane.invalid")["made_at"] - time.time()) < 0.5
'; then
  echo 1 > /logs/verifier/reward.txt
fi
exit 0

#!/bin/sh
# Compares what inidump prints for each tests/*.ini with the .out beside it.
status=0
for input in tests/*.ini; do
  if ./inidump "$input" | cmp -s - "${input%.ini}.out"; then
    echo "ok   $input"
  else
    echo "FAIL $input"
    status=1
  fi
done
exit $status

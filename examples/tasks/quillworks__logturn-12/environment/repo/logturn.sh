#!/bin/bash
# Usage: logturn.sh DIR KEEP
set -u

if [ $# -ne 2 ]; then
  echo "usage: logturn.sh DIR KEEP" >&2
  exit 2
fi
dir=$1
keep=$2

rotate() {
  log=$1
  n=1
  while [ $n -lt $keep ]; do
    if [ -e $log.$n ]; then
      mv $log.$n $log.$((n + 1))
    fi
    n=$((n + 1))
  done
  mv $log $log.1
  : > $log
}

for log in $(ls $dir/*.log); do
  if [ -s $log ]; then
    rotate $log
  fi
done

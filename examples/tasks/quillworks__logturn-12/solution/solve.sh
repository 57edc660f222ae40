#!/bin/bash
set -e
cat > /app/logturn.sh <<'SH'
#!/bin/bash
# Usage: logturn.sh DIR KEEP
set -u
shopt -s nullglob

if [ $# -ne 2 ]; then
  echo "usage: logturn.sh DIR KEEP" >&2
  exit 2
fi
dir=$1
keep=$2

# Moves each generation up by one, the oldest first, so that none is overwritten
# before it has moved itself.
rotate() {
  local log=$1 n
  for ((n = keep - 1; n >= 1; n--)); do
    if [ -e "$log.$n" ]; then
      mv -f -- "$log.$n" "$log.$((n + 1))"
    fi
  done
  mv -f -- "$log" "$log.1"
  : > "$log"
}

for log in "$dir"/*.log; do
  if [ -s "$log" ]; then
    rotate "$log"
  fi
done
exit 0
SH

#!/bin/bash
# Writes 1 when every hidden check passes on /app, else 0.
mkdir -p /logs/verifier
echo 0 > /logs/verifier/reward.txt
work=$(mktemp -d) || exit 0
trap 'rm -rf "$work"' EXIT

failed=0
expect() { # what, expected, actual
  if [ "$2" = "$3" ]; then
    echo "ok   $1"
  else
    printf 'FAIL %s: expected %q, got %q\n' "$1" "$2" "$3"
    failed=1
  fi
}
turn() { timeout 20 bash /app/logturn.sh "$@"; }
show() { for file in "$@"; do if [ -e "$file" ]; then cat "$file"; else echo none; fi; done | tr '\n' ' '; }

a="$work/plain"; mkdir "$a"
for n in 1 2 3; do echo "day$n" > "$a/app.log"; turn "$a" 5; done
expect 'three generations' 'day3 day2 day1 none none ' "$(show "$a"/app.log.{1..5})"
for n in 4 5 6 7; do echo "day$n" > "$a/app.log"; turn "$a" 5; done
expect 'keeps five' 'day7 day6 day5 day4 day3 none ' "$(show "$a"/app.log.{1..6})"
expect 'a new empty log' ' ' "$(show "$a/app.log") "
turn "$a" 5
expect 'empty logs are left alone' 'day7 day6 ' "$(show "$a"/app.log.{1,2})"

b="$work/my logs"; mkdir "$b"
for n in 1 2 3; do echo "q$n" > "$b/print queue.log"; echo "p$n" > "$b/plain.log"; turn "$b" 2; done
expect 'spaces in names' 'q3 q2 none ' "$(show "$b/print queue.log."{1..3})"
expect 'their neighbours' 'p3 p2 none ' "$(show "$b/plain.log."{1..3})"

c="$work/one"; mkdir "$c"
for n in 1 2; do echo "x$n" > "$c/x.log"; turn "$c" 1; done
expect 'keeps one' 'x2 none ' "$(show "$c"/x.log.{1,2})"

d="$work/none"; mkdir "$d"
output=$(turn "$d" 3 2>&1); code=$?
expect 'no logs: silent' '' "$output"
expect 'no logs: exit code' 0 "$code"
expect 'no logs: nothing made' '' "$(ls -A "$d")"

e="$work/twelve"; mkdir "$e"
for n in {1..13}; do echo "t$n" > "$e/t.log"; turn "$e" 12; done
expect 'two-digit generations' 't13 t4 t3 t2 none ' "$(show "$e"/t.log.{1,10,11,12,13})"

turn "$e" > /dev/null 2>&1
expect 'usage error' 2 "$?"

if [ "$failed" -eq 0 ]; then
  echo 1 > /logs/verifier/reward.txt
fi
exit 0

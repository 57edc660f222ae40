#!/bin/bash
# Writes 1 when the repository in /app is as the report asks, else 0.
mkdir -p /logs/verifier
echo 0 > /logs/verifier/reward.txt
# Hooks and configuration that were left in the repository are not to run here.
export GIT_CONFIG_COUNT=2 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0=/app
export GIT_CONFIG_KEY_1=core.hooksPath GIT_CONFIG_VALUE_1=/dev/null
cd /app || exit 0

failed=0
expect() { # what, expected, actual
  if [ "$2" = "$3" ]; then
    echo "ok   $1"
  else
    printf 'FAIL %s: expected %q, got %q\n' "$1" "$2" "$3"
    failed=1
  fi
}

expect 'branch' main "$(git symbolic-ref --short HEAD 2>&1)"
expect 'clean tree' '' "$(git status --porcelain 2>&1)"
expect 'nothing half-way' '' "$(cd .git && ls -d rebase-merge rebase-apply MERGE_HEAD CHERRY_PICK_HEAD REVERT_HEAD 2>/dev/null)"
expect 'no merges' '' "$(git rev-list --merges main 2>&1)"
expect 'commits' "$(cat /tests/commits.txt)" "$(git log --reverse --format='%an|%s' main 2>&1)"
expect 'dates of hers' '2024-05-12T09:00:00+00:00 2024-05-13T09:00:00+00:00' \
  "$(git log --reverse --author='Ida Plover' --format=%aI main | sed 's/Z$/+00:00/' | paste -sd' ')"
expect 'her e-mail address' 'ida@fieldnotes.example' "$(git log --author='Ida Plover' --format=%ae main | sort -u)"

second=$(git rev-list --reverse main 2>/dev/null | sed -n 2p)
expect 'the first two are untouched' "$(cat /tests/second.txt)" "$second"

for file in README.md index.txt notes/marsh.txt notes/meadow.txt notes/quarry.txt; do
  expect "$file" "$(cat "/tests/tree/$file")" "$(git show "main:$file" 2>&1)"
done
expect 'files' "$(cd /tests/tree && find . -type f | sort)" "$(git ls-tree -r --name-only main | sed 's|^|./|' | sort)"

if [ "$failed" -eq 0 ]; then
  echo 1 > /logs/verifier/reward.txt
fi
exit 0

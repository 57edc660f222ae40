#!/bin/bash
# Writes 1 when every hidden test passes on /app, else 0.
mkdir -p /logs/verifier
echo 0 > /logs/verifier/reward.txt
work=$(mktemp -d) || exit 0
trap 'rm -rf "$work"' EXIT

rustc=$(command -v rustc) || rustc=$(sed -n 's/^RUSTC = //p' /app/config.mk)
"$rustc" --edition 2021 --crate-type rlib --crate-name ringlog --cap-lints allow /app/src/lib.rs -o "$work/libringlog.rlib" || exit 0
"$rustc" --edition 2021 --test --extern ringlog="$work/libringlog.rlib" /tests/hidden.rs -o "$work/hidden" || exit 0
if "$work/hidden"; then
  echo 1 > /logs/verifier/reward.txt
fi
exit 0

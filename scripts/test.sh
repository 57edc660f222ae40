#!/usr/bin/env bash
# Installs what the tests need when it is missing, and passes all tests. --full adds the long ones.
set -euo pipefail
cd "$(dirname "$0")/.."

full=0
for argument in "$@"; do
  case "$argument" in
    --full) full=1 ;;
    *) echo "test.sh: unknown argument '$argument' (known: --full)" >&2; exit 2 ;;
  esac
done

# need COMMAND PACKAGE...: installs Debian packages when the command is not there.
need() {
  local command=$1; shift
  command -v "$command" >/dev/null && return
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "test.sh: '$command' is missing; install: $*" >&2
    exit 3
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null
}
need gcc build-essential
need tmux tmux
need git git
need mke2fs e2fsprogs

if [ "$full" = 1 ]; then
  # A real inference server; --no-deps: see the requirements.
  need python3 python3 python3-venv
  llama=$PWD/target/llama
  [ -x "$llama/bin/python" ] || python3 -m venv "$llama"
  "$llama/bin/pip" install --quiet --disable-pip-version-check --no-deps -r tests/llama/requirements.txt
  export TRAJGEN_TEST_LLAMA=$llama/bin/python
fi

export TRAJGEN_TEST_FULL=$full
cargo test --workspace --release --locked

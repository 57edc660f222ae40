# Sets TRAJGEN to the binary these scripts call: the one of this checkout ($root), built when needed, else the one on the PATH.
if [ -f "$root/Cargo.toml" ] && command -v cargo >/dev/null; then
  # The linker, and what the example's C task is built with.
  . "$root/scripts/need.sh"
  need cc build-essential
  TRAJGEN=$(cd "$root" && realpath -m "${CARGO_TARGET_DIR:-target}")/release/trajgen
  quiet=--quiet
  # On a terminal people see how far it is.
  [ ! -t 2 ] || quiet=
  [ -x "$TRAJGEN" ] || echo "building trajgen (release), a few minutes the first time" >&2
  (cd "$root" && cargo build --release --locked $quiet --package trajgen)
elif ! TRAJGEN=$(command -v trajgen); then
  echo "trajgen is not installed, and there is no Rust toolchain to build it: see README.md" >&2
  exit 3
fi

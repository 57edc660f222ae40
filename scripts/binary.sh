# Sets TRAJGEN to the binary these scripts call: the one of this checkout, built when needed, else the one on the PATH.
if [ -f Cargo.toml ] && command -v cargo >/dev/null; then
  cargo build --release --locked --quiet --package trajgen
  TRAJGEN=${CARGO_TARGET_DIR:-target}/release/trajgen
elif ! TRAJGEN=$(command -v trajgen); then
  echo "trajgen is not installed, and there is no Rust toolchain to build it: see README.md" >&2
  exit 3
fi

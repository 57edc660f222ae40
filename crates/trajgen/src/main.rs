//! The `trajgen` binary.
fn main() {}

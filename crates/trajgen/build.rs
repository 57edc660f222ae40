//! Says which commit the binary is built from, and packs the example it carries.

#[path = "build/example.rs"]
mod example;

use std::path::Path;

fn main() -> std::io::Result<()> {
    let head = std::process::Command::new("git").args(["rev-parse", "HEAD"]).output();
    let commit = head
        .ok()
        .filter(|o| o.status.success())
        .map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
        .unwrap_or_else(|| "unknown".into());
    println!("cargo:rustc-env=TRAJGEN_COMMIT={commit}");
    println!("cargo:rerun-if-changed=../../.git/HEAD");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let out = std::env::var_os("OUT_DIR").ok_or_else(|| std::io::Error::other("cargo sets OUT_DIR"))?;
    example::pack(&root, Path::new(&out))
}

//! Builds the guest helper, a static program, for `guest/binary.rs` to carry.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            println!("cargo::error={problem}");
            ExitCode::FAILURE
        }
    }
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("cargo did not set {name}: {error}"))
}

fn build() -> Result<(), String> {
    let out = PathBuf::from(variable("OUT_DIR")?);
    let target = variable("TARGET")?;
    let manifest = Path::new(&variable("CARGO_MANIFEST_DIR")?).join("../guest/Cargo.toml");
    let product = out.join("trajgen-guest");
    for source in ["../guest/src", "../guest/Cargo.toml", "build.rs"] {
        println!("cargo::rerun-if-changed={source}");
    }
    if variable("CARGO_CFG_TARGET_OS")? != "linux" {
        return std::fs::write(&product, []).map_err(|error| format!("{}: {error}", product.display()));
    }

    // A target directory of its own, as the outer build holds the lock of the other. An explicit target, as
    // without one the flags would reach build scripts and procedural macros, which cannot be static.
    let folder = out.join("guest");
    let mut cargo = Command::new(variable("CARGO")?);
    cargo
        .args([
            "build",
            "--quiet",
            "--color=never",
            "--message-format=short",
            "--profile",
            "guest",
            "--bin",
            "trajgen-guest",
            "--target",
            &target,
        ])
        .arg("--manifest-path")
        .arg(&manifest)
        .arg("--target-dir")
        .arg(&folder)
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static");
    // What the outer build was called with (clippy's wrapper, say) is not meant for this one.
    for name in ["RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO_BUILD_TARGET", "CLIPPY_ARGS"]
    {
        cargo.env_remove(name);
    }
    let output = cargo.output().map_err(|error| format!("cargo could not be started: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        // A message to cargo is one line.
        let first: Vec<_> = said.lines().filter(|line| line.contains("error")).take(5).collect();
        return Err(format!("the guest helper could not be built ({}): {}", output.status, first.join("; ")));
    }
    let built = folder.join(&target).join("guest/trajgen-guest");
    std::fs::copy(&built, &product).map_err(|error| format!("{}: {error}", built.display()))?;
    Ok(())
}

//! Packs the shipped block (examples, scripts, config.yaml) into a tar, which the binary carries for
//! `trajgen init --example`.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What is packed, from the root of the checkout.
const PARTS: [&str; 3] = ["config.yaml", "examples", "scripts"];
/// What running things leaves in these folders.
const LEFTOVERS: [&str; 4] = ["target", "__pycache__", ".pytest_cache", ".git"];
/// What only a checkout has a use for.
const CHECKOUT_ONLY: &str = "scripts/test.sh";

/// Writes `example.tar` to the folder `out`.
pub fn pack(root: &Path, out: &Path) -> io::Result<()> {
    let mut tar = tar::Builder::new(File::create(out.join("example.tar"))?);
    for part in PARTS {
        println!("cargo:rerun-if-changed={}", root.join(part).display());
        add(&mut tar, root, Path::new(part))?;
    }
    tar.finish()
}

/// Adds a file, or a folder with all that is in it, by name, so that equal sources give equal bytes.
fn add(tar: &mut tar::Builder<File>, root: &Path, path: &Path) -> io::Result<()> {
    let source = root.join(path);
    let metadata = fs::symlink_metadata(&source)?;
    if metadata.is_dir() {
        let mut inside: Vec<PathBuf> = fs::read_dir(&source)?
            .map(|entry| Ok(path.join(entry?.file_name())))
            .collect::<io::Result<_>>()?;
        inside.sort();
        let packed = |inner: &&PathBuf| {
            let name = inner.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            !LEFTOVERS.contains(&name) && *inner != Path::new(CHECKOUT_ONLY)
        };
        return inside.iter().filter(packed).try_for_each(|inner| add(tar, root, inner));
    }
    if !metadata.is_file() {
        return Err(io::Error::other(format!("{} is neither a file nor a folder", source.display())));
    }
    let mut header = tar::Header::new_gnu();
    header.set_size(metadata.len());
    header.set_mode(if metadata.permissions().mode() & 0o100 == 0 { 0o644 } else { 0o755 });
    header.set_mtime(0);
    tar.append_data(&mut header, path, File::open(&source)?)
}

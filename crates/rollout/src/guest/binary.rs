//! The helper's program, built for this host and carried inside this one.

use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// The helper as a static executable; empty when this program was built for a system it does not exist for.
pub static GUEST: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/trajgen-guest"));

/// Writes the helper to `path`, executable for all, writable for nobody. A file that is there is replaced as a whole.
///
/// # Errors
/// The file cannot be written, or there is no helper for this system.
pub fn install(path: &Path) -> io::Result<()> {
    if GUEST.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this trajgen was built without the guest helper, which exists for Linux only",
        ));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().make_in(folder, |path| {
        std::fs::File::options().write(true).create_new(true).mode(0o555).open(path)
    })?;
    file.write_all(GUEST)?;
    // The file must be closed for writing before anyone starts it.
    file.into_temp_path().persist(path)?;
    Ok(())
}

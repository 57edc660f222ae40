//! One JSON value per line over unbuffered streams, so that nothing is read that belongs to who comes next.

use super::SandboxError;
use rustix::fd::AsFd;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;

/// More than any set of mounts needs.
const MAX_LINE: usize = 256 * 1024;

/// Reads one line and no byte more.
pub(super) fn read<T: DeserializeOwned>(from: impl AsFd) -> Result<T, SandboxError> {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        match rustix::io::read(&from, &mut byte) {
            Ok(0) => {
                let end = io::Error::from(io::ErrorKind::UnexpectedEof);
                return Err(SandboxError::at("cannot read what the sandbox is to be")(end));
            }
            Ok(_) if byte[0] == b'\n' => break,
            Ok(_) if line.len() < MAX_LINE => line.push(byte[0]),
            Ok(_) => {
                let long = io::Error::from(io::ErrorKind::FileTooLarge);
                return Err(SandboxError::at("what the sandbox is to be is too long")(long));
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(SandboxError::at("cannot read what the sandbox is to be")(error)),
        }
    }
    serde_json::from_slice(&line).map_err(SandboxError::at("cannot understand what the sandbox is to be"))
}

/// Writes one line.
pub(super) fn write(to: impl AsFd, value: &impl Serialize) -> Result<(), SandboxError> {
    let answering = "cannot answer trajgen";
    let mut line = serde_json::to_vec(value).map_err(SandboxError::at(answering))?;
    line.push(b'\n');
    let mut rest = line.as_slice();
    while !rest.is_empty() {
        match rustix::io::write(&to, rest) {
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(SandboxError::at(answering)(error)),
        }
    }
    Ok(())
}

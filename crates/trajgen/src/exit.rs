//! How the program ends: stable exit codes, and one error type for people.

/// Exit codes, documented in `docs/exit-codes.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The run itself failed.
    Failed = 1,
    /// Bad usage, config or task input.
    BadInput = 2,
    /// Something needed is missing or not reachable: engine, port, upstream, disk.
    Missing = 3,
    /// Trials ended in errors and `--fail-on-error` was given.
    TrialErrors = 4,
    /// The block is in use by another run.
    InUse = 5,
    /// Ended by Ctrl-C.
    Interrupted = 130,
    /// Ended by SIGTERM.
    Terminated = 143,
}

/// An error as people see it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What the process exits with.
    pub code: Code,
    /// What, where, what was expected, what to do.
    pub message: String,
}

impl Failure {
    /// The run itself failed.
    pub fn failed(message: impl std::fmt::Display) -> Self {
        Self { code: Code::Failed, message: message.to_string() }
    }
    /// Bad usage, config or task input.
    pub fn bad_input(message: impl std::fmt::Display) -> Self {
        Self { code: Code::BadInput, message: message.to_string() }
    }
    /// Something needed is missing or not reachable.
    pub fn missing(message: impl std::fmt::Display) -> Self {
        Self { code: Code::Missing, message: message.to_string() }
    }
}

impl From<trajgen_contract::files::FileError> for Failure {
    fn from(error: trajgen_contract::files::FileError) -> Self {
        use std::io::ErrorKind as K;
        match error.source.kind() {
            K::PermissionDenied | K::ReadOnlyFilesystem | K::StorageFull | K::QuotaExceeded => {
                Self::missing(error)
            }
            _ => Self::failed(error),
        }
    }
}

impl From<trajgen_contract::ledger::LedgerError> for Failure {
    fn from(error: trajgen_contract::ledger::LedgerError) -> Self {
        match error {
            trajgen_contract::ledger::LedgerError::File(file) => file.into(),
            other => Self::bad_input(other),
        }
    }
}

impl From<trajgen_contract::archive::ArchiveError> for Failure {
    fn from(error: trajgen_contract::archive::ArchiveError) -> Self {
        match error {
            trajgen_contract::archive::ArchiveError::File(file) => file.into(),
            other => Self::bad_input(other),
        }
    }
}

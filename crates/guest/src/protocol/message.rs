//! The JSON of frames: hello, requests, replies.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What both sides send first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`super::VERSION`].
    pub version: u32,
    /// The sender's process id, as it sees it itself.
    pub pid: i32,
}

/// What the client asks for. Requests without a data stream say so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Request {
    /// Runs a command. Data to the helper is its standard input (only with [`ExecStart::stdin`]), data from the
    /// helper its output. Reply: [`Reply::Exec`]. Cancelling kills the process tree.
    Exec(ExecStart),
    /// Unpacks files. Data to the helper is a tar stream. Reply: [`Reply::Put`].
    Put(Put),
    /// Packs files. Data from the helper is a tar stream. Reply: [`Reply::Get`].
    Get(Get),
    /// Asks whether a path is a folder. No data. Reply: [`Reply::IsFolder`].
    IsFolder {
        /// An absolute path.
        path: String,
    },
    /// Opens a terminal. No data. Reply: [`Reply::Terminal`].
    TerminalOpen(TerminalOpen),
    /// Types keys: a key name when the whole string is one, else the text as it is. No data. Reply: [`Reply::Ok`].
    TerminalKeys {
        /// The terminal.
        terminal: u32,
        /// What to type.
        keys: String,
    },
    /// Reads a terminal. Data from the helper is the text. Reply: [`Reply::Ok`].
    TerminalText {
        /// The terminal.
        terminal: u32,
        /// Scroll-back as well as the screen.
        history: bool,
    },
    /// Asks whether the terminal's program runs. No data. Reply: [`Reply::Alive`].
    TerminalAlive {
        /// The terminal.
        terminal: u32,
    },
    /// Refuses keys from now on; the terminal stays open. No data. Reply: [`Reply::Ok`].
    TerminalFreeze {
        /// The terminal.
        terminal: u32,
    },
    /// Lists what runs, the helper left out. No data. Reply: [`Reply::Processes`].
    Processes,
    /// Sends a signal to everything that runs, the helper left out. No data. Reply: [`Reply::Ok`].
    Signal {
        /// The signal's number.
        signal: i32,
    },
    /// Kills everything that runs, the helper left out, until nothing is left. No data. Reply: [`Reply::Ok`].
    KillAll,
    /// Listens and forwards. No data. Reply: [`Reply::Forward`].
    Forward(Forward),
}

/// A command to run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecStart {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Name or `uid[:gid]` (also `name:group`); the helper's own user when absent.
    pub user: Option<String>,
    /// Working directory; `/` when absent.
    pub cwd: Option<String>,
    /// The whole environment; `PATH`, `HOME` and `USER` are added when missing.
    pub env: BTreeMap<String, String>,
    /// The process tree is killed after this many milliseconds.
    pub timeout_ms: Option<u64>,
    /// Data follows for standard input; else it reads nothing.
    pub stdin: bool,
    /// In the private view of files, where there is one: `/logs/verifier` is a folder that others do not see.
    #[serde(default)]
    pub private: bool,
}

/// Where to unpack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Put {
    /// An absolute folder, made when missing.
    pub target: String,
}

/// What to pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Get {
    /// An absolute file or folder.
    pub source: String,
    /// What to leave out.
    #[serde(flatten)]
    pub filter: EntryFilter,
    /// No more than this many bytes of content are sent.
    pub max_bytes: u64,
    /// The private folder instead of the source, where there is one.
    #[serde(default)]
    pub private: bool,
}

/// Which entries of a folder are left out of a download.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryFilter {
    /// Globs on paths relative to the source.
    #[serde(default)]
    pub exclude: Vec<String>,
}

/// A terminal to open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalOpen {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// As in [`ExecStart`].
    pub user: Option<String>,
    /// As in [`ExecStart`].
    pub cwd: Option<String>,
    /// As in [`ExecStart`].
    pub env: BTreeMap<String, String>,
    /// Width in cells.
    pub columns: u16,
    /// Height in cells.
    pub rows: u16,
}

/// A forwarder from a TCP port of the inside's loopback to a Unix socket of the inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    /// The port on 127.0.0.1; 0 lets the system choose.
    pub port: u16,
    /// The socket's path inside.
    pub socket: String,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecEnd {
    /// It exited with this code.
    Exited(i32),
    /// It was killed by this signal.
    Signalled(i32),
    /// Its time ran out and its process tree was killed.
    TimedOut,
    /// The client cancelled it and its process tree was killed.
    Cancelled,
}

/// What a command left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecDone {
    /// How it ended.
    pub end: ExecEnd,
}

/// A process that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its id inside.
    pub pid: i32,
    /// Its command line, cut to 200 characters; its name in brackets when it has none.
    pub command: String,
}

/// What closes a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// Done, nothing to say.
    Ok,
    /// The command ended.
    Exec(ExecDone),
    /// How many files were written.
    Put {
        /// Regular files and links.
        files: u64,
    },
    /// What was packed.
    Get {
        /// False when there is nothing at the source.
        found: bool,
        /// Entries left out because they are no regular files or did not fit, with the reason.
        skipped: Vec<String>,
        /// Files were left out because they did not fit.
        cut: bool,
    },
    /// Whether the path is a folder.
    IsFolder {
        /// False also when there is nothing.
        folder: bool,
    },
    /// The terminal's number.
    Terminal {
        /// For the other terminal requests.
        terminal: u32,
    },
    /// Whether the terminal's program runs.
    Alive {
        /// False once it has ended.
        alive: bool,
    },
    /// What runs.
    Processes {
        /// In order of process ids.
        processes: Vec<Process>,
    },
    /// The forwarder listens.
    Forward {
        /// The port it listens on.
        port: u16,
    },
    /// The request could not be met.
    Failed(Failure),
}

/// Why a request could not be met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Which sort of failure.
    pub kind: FailureKind,
    /// What, where, what was expected.
    pub message: String,
}

/// Sorts of failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The request names something that does not exist inside: a user, a folder, a terminal.
    NotFound,
    /// The request makes no sense here: an ended terminal, a user that cannot be become.
    Refused,
    /// The system said no: no space, no memory, no process.
    System,
    /// No space is left on the device.
    NoSpace,
}

impl Failure {
    /// A failure with its message.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// A system error, with what was being done.
    #[must_use]
    pub fn system(doing: &str, error: &std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => FailureKind::NoSpace,
            _ => FailureKind::System,
        };
        Self::new(kind, format!("{doing}: {error}"))
    }
}

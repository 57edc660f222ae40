//! The lines that trajgen and the two processes exchange before the helper's protocol starts.

use serde::{Deserialize, Serialize};

/// trajgen to the porter: which namespaces to make beside mount, pid, ipc, uts and cgroup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Door {
    /// A user namespace: the porter then asks for its id maps and waits for the answer.
    pub user: bool,
    /// A network namespace of its own, with nothing but loopback; else the host's network.
    pub network: bool,
    /// Nothing but this.
    pub errand: Option<Errand>,
}

/// Something done to an absolute path whose owners only the user namespace knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Errand {
    /// The tree is removed.
    Remove(String),
    /// The porter says what the tree takes on the disk.
    Measure(String),
}

/// trajgen to process 1: what the room looks like. Paths are relative to [`Room::base`] unless absolute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// The absolute folder that relative paths start from; so mount options hold no path of the host.
    pub base: String,
    /// The folder of this sandbox; holds `m` (where the root is mounted) and `s` (upper layers).
    pub scratch: String,
    /// Where the upper layers are kept.
    pub upper: Upper,
    /// Overlays, `/` first.
    pub layers: Vec<Layer>,
    /// What of the host is shown as it is, read-only.
    pub binds: Vec<Bind>,
    /// A Unix socket of the host to connect to, absolute; inside it has no path.
    pub socket: Option<String>,
    /// In a user namespace.
    pub user: bool,
    /// Ids other than 0 are mapped.
    pub many_ids: bool,
    /// A network namespace of its own, whose loopback is to be brought up.
    pub network: bool,
    /// Folders to make, and their mode: writable ones of the task.
    pub folders: Vec<(String, u32)>,
    /// Most processes and threads, where no control group counts them.
    pub process_limit: Option<u64>,
}

/// Where what is written goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Upper {
    /// The scratch folder itself.
    Folder,
    /// Memory, at most this many bytes (no limit when absent).
    Tmpfs(Option<u64>),
    /// A file with an ext4 file system, mounted through this loop device.
    Device(String),
}

/// One overlay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Where it is seen: `/`, `/usr`, `/opt`.
    pub target: String,
    /// The name of its upper folder.
    pub name: String,
    /// What lies below, topmost first.
    pub lower: Vec<String>,
}

/// Something of the host that is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// On the host, absolute.
    pub source: String,
    /// Inside, absolute; its parents are made when missing.
    pub target: String,
}

/// Process 1 to trajgen (or the porter, when it fails).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ready {
    /// The porter has its user namespace and waits for the maps.
    Maps,
    /// The room is closed; what follows is the helper's protocol.
    Closed {
        /// Process 1's number on the host.
        pid: i32,
        /// What process 1, and it alone, connects to for [`Room::socket`].
        socket: Option<String>,
    },
    /// The errand is done; what was measured.
    Done(u64),
    /// What went wrong.
    Failed(String),
}

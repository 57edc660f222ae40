//! Starting the processes of a sandbox and ending them.

use super::cgroup::Group;
use super::maps::Maps;
use super::{failed, lost};
use crate::environment::EnvironmentError;
use crate::guest::{Defaults, Guest, binary};
use rustix::fd::{AsRawFd as _, OwnedFd};
use rustix::process::{Pid, PidfdFlags, Signal};
use serde::Serialize;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use trajgen_guest::files::{remove_tree, tree_size};
use trajgen_guest::sandbox::{Door, Errand, PORTER, Ready, Room};

/// The kernel needs no more to end processes that have been killed.
const END_LIMIT: Duration = Duration::from_secs(20);
/// No answer of the inside is longer.
const MAX_ANSWER: u64 = 64 * 1024;

/// The helper's program, in memory: nothing that runs inside can ever write the file it was started from.
#[derive(Debug)]
pub(super) struct Program(OwnedFd);

impl Program {
    /// Puts the program into memory and seals it.
    pub(super) fn load() -> io::Result<Self> {
        if binary::GUEST.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this trajgen was built without the guest helper",
            ));
        }
        use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        // Older kernels do not know that it is to be executed; there all can be.
        let fd = memfd_create("trajgen-guest", flags | MemfdFlags::EXEC)
            .or_else(|_| memfd_create("trajgen-guest", flags))?;
        let mut file = std::fs::File::from(fd);
        file.write_all(binary::GUEST)?;
        fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        Ok(Self(file.into()))
    }

    /// Where the program is found by a child, before anything is closed in it.
    fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.0.as_raw_fd())
    }

    /// Removes a tree that a sandbox has written.
    pub(super) fn remove(&self, maps: Option<&Maps>, tree: &Path) -> io::Result<()> {
        match (remove_tree(tree), maps.filter(|maps| maps.many())) {
            (Err(_), Some(maps)) => self.run(maps, Errand::Remove(path(tree))).map(drop),
            (result, _) => result,
        }
    }

    /// What a tree that a sandbox writes takes on the disk, in bytes.
    pub(super) fn measure(&self, maps: Option<&Maps>, tree: &Path) -> io::Result<u64> {
        match maps.filter(|maps| maps.many()) {
            Some(maps) => self.run(maps, Errand::Measure(path(tree))),
            None => Ok(tree_size(tree)),
        }
    }

    /// Runs an errand on a tree with owners of a sandbox's user namespace, from within such a one.
    fn run(&self, maps: &Maps, errand: Errand) -> io::Result<u64> {
        use std::io::{BufRead as _, BufReader, Read as _};
        let mut porter = std::process::Command::new(self.path())
            .arg(PORTER)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (Some(mut input), Some(output)) = (porter.stdin.take(), porter.stdout.take()) else {
            return Err(io::Error::other("the sandbox's helper has no streams"));
        };
        let mut output = BufReader::new(output).take(MAX_ANSWER);
        let door = Door { user: true, network: false, errand: Some(errand) };
        serde_json::to_writer(&input, &door)?;
        input.write_all(b"\n")?;
        let mut line = String::new();
        output.read_line(&mut line)?;
        let mapped = match serde_json::from_str(&line)? {
            Ready::Maps => maps.write(porter.id()).and_then(|()| input.write_all(b"null\n")),
            other => Err(io::Error::other(unexpected(other))),
        };
        // Without its input the helper ends.
        drop(input);
        line.clear();
        let answer = output.read_line(&mut line);
        porter.wait()?;
        mapped.and(answer)?;
        match serde_json::from_str(&line)? {
            Ready::Done(bytes) => Ok(bytes),
            other => Err(io::Error::other(unexpected(other))),
        }
    }
}

/// The processes of a sandbox. Dropped, they are killed.
pub(super) struct Running {
    porter: Child,
    first: OwnedFd,
    first_pid: i32,
    /// Where the helper finds the room's socket.
    socket: Option<String>,
    guest: Guest,
}

impl Running {
    /// Starts the processes, puts them into `group`, lets them build `room` and connects to the helper.
    pub(super) async fn start(
        program: &Program,
        maps: Option<&Maps>,
        room: &Room,
        group: Option<&Group>,
        defaults: Defaults,
    ) -> Result<Self, EnvironmentError> {
        let mut porter = Command::new(program.path())
            .arg(PORTER)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| lost("cannot start the sandbox's helper", &e))?;
        let number = porter.id().ok_or_else(|| failed("the sandbox's helper ended at once"))?;
        let (Some(mut input), Some(output)) = (porter.stdin.take(), porter.stdout.take()) else {
            return Err(failed("the sandbox's helper has no streams"));
        };
        let mut output = BufReader::with_capacity(64 * 1024, output);
        if let Some(group) = group {
            group.admit(number).map_err(|e| lost("cannot put the sandbox into its control group", &e))?;
        }
        send(&mut input, &Door { user: maps.is_some(), network: room.network, errand: None }).await?;
        if let Some(maps) = maps {
            match receive(&mut output).await? {
                Ready::Maps => {}
                other => return Err(unexpected(other)),
            }
            let maps = maps.clone();
            tokio::task::spawn_blocking(move || maps.write(number))
                .await
                .map_err(io::Error::other)
                .flatten()
                .map_err(|e| lost("cannot map the user ids of the sandbox", &e))?;
            send(&mut input, &()).await?;
        }
        send(&mut input, room).await?;
        let (first_pid, socket) = match receive(&mut output).await? {
            Ready::Closed { pid, socket } => (pid, socket),
            other => return Err(unexpected(other)),
        };
        let first = Pid::from_raw(first_pid)
            .ok_or(rustix::io::Errno::SRCH)
            .and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()))
            .map_err(|e| lost("cannot find the sandbox's first process", &e.into()))?;
        let guest = Guest::connect(output, input, defaults).await?;
        Ok(Self { porter, first, first_pid, socket, guest })
    }

    pub(super) fn guest(&self) -> &Guest {
        &self.guest
    }

    /// Where the helper finds [`Room::socket`].
    pub(super) fn socket(&self) -> Option<&str> {
        self.socket.as_deref()
    }

    /// The first process's number on the host.
    pub(super) fn first_pid(&self) -> i32 {
        self.first_pid
    }

    /// Kills everything and waits until it is gone.
    pub(super) async fn end(&mut self) -> Result<(), EnvironmentError> {
        self.kill();
        // The kernel lets the first process end last, and the porter ends after it.
        match tokio::time::timeout(END_LIMIT, self.porter.wait()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(lost("cannot wait for the end of the sandbox", &error)),
            Err(_) => Err(failed(&format!(
                "the sandbox's processes did not end within {END_LIMIT:?} of being killed"
            ))),
        }
    }
}

impl Running {
    fn kill(&self) {
        // When it has ended by itself there is nothing to kill.
        let _ = rustix::process::pidfd_send_signal(&self.first, Signal::KILL);
        self.guest.close();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

fn path(tree: &Path) -> String {
    tree.to_string_lossy().into_owned()
}

fn unexpected(ready: Ready) -> EnvironmentError {
    match ready {
        Ready::Failed(why) => failed(&format!("the sandbox could not be set up: {why}")),
        Ready::Maps | Ready::Closed { .. } | Ready::Done(_) => {
            failed("the sandbox's helper answered out of turn")
        }
    }
}

async fn send(input: &mut ChildStdin, value: &impl Serialize) -> Result<(), EnvironmentError> {
    let telling = "cannot tell the sandbox's helper what to do";
    let mut line = serde_json::to_vec(value).map_err(|e| lost(telling, &e.into()))?;
    line.push(b'\n');
    input.write_all(&line).await.map_err(|e| lost(telling, &e))
}

async fn receive(output: &mut BufReader<ChildStdout>) -> Result<Ready, EnvironmentError> {
    let mut line = String::new();
    let count = output.take(MAX_ANSWER).read_line(&mut line).await;
    count.map_err(|e| lost("cannot read the answer of the sandbox's helper", &e))?;
    serde_json::from_str(&line).map_err(|_| failed("the sandbox's helper ended without an answer"))
}

//! Running one command: its output, its input, its time.

use crate::connection::Channel;
use crate::process::{self, Ending, Launch, Reaper, kill_tree, prepare};
use crate::protocol::{CHUNK, ExecDone, ExecEnd, ExecStart, Failure, Reply};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// The exit codes of a shell that cannot start a program.
const NOT_FOUND: i32 = 127;
const NOT_RUNNABLE: i32 = 126;

enum Event {
    Ended(Ending),
    Cancelled,
}

/// Serves an exec request to its end.
pub(crate) fn run(reaper: &Reaper, channel: &Arc<Channel>, start: &ExecStart) {
    let reply =
        attempt(reaper, channel, start).map_or_else(Reply::Failed, |end| Reply::Exec(ExecDone { end }));
    channel.done(&reply);
}

fn attempt(reaper: &Reaper, channel: &Arc<Channel>, start: &ExecStart) -> Result<ExecEnd, Failure> {
    let deadline = start.timeout_ms.and_then(|ms| Instant::now().checked_add(Duration::from_millis(ms)));
    let mut command = prepare(&Launch {
        argv: &start.argv,
        user: start.user.as_deref(),
        cwd: start.cwd.as_deref(),
        env: &start.env,
        terminal: false,
        warden: true,
    })?;
    // The name systemd gives the same idea: every process of one invocation inherits it.
    let invocation = invocation_id();
    command.env("INVOCATION_ID", &invocation);

    let piping = |error: io::Error| Failure::system("cannot make a pipe for the command's output", &error);
    let (output, output_in) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| piping(error.into()))?;
    let (over, over_in) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| piping(error.into()))?;
    command.stdout(output_in.try_clone().map_err(piping)?).stderr(output_in);
    command.stdin(if start.stdin { Stdio::piped() } else { Stdio::null() });

    // First: without this thread, the command could not be told apart from one that was never started.
    let (pumped, drained) = mpsc::channel::<()>();
    let out = Arc::clone(channel);
    process::with_room(|| {
        let (out, output, over, pumped) =
            (Arc::clone(&out), output.try_clone()?, over.try_clone()?, pumped.clone());
        crate::spawn("output", move || pump(&out, output, &over, pumped))
    })
    .map_err(|error| Failure::system("cannot start a thread for the command's output", &error))?;
    drop((output, over, pumped));

    let (events, ended) = mpsc::channel();
    let on_end = events.clone();
    let spawned = process::with_room(|| {
        let on_end = on_end.clone();
        reaper.spawn(&mut command, true, move |ending| {
            // The receiver is only gone when nobody waits for the command any more.
            let _ = on_end.send(Event::Ended(ending));
        })
    });
    drop(on_end);
    // Our copies of the child's end must go, else the output never ends.
    drop(command);
    let (pid, mut child) = match spawned {
        Ok(started) => started,
        Err(error) => return not_started(channel, start, &error),
    };
    let tree = pid.as_raw_nonzero().get();
    let variable = format!("INVOCATION_ID={invocation}");
    channel.on_cancel(move || {
        let _ = events.send(Event::Cancelled);
    });

    let feed = match child.stdin.take() {
        None => Ok(()),
        Some(stdin) => {
            let input = Arc::clone(channel);
            crate::spawn("input", move || feed(&input, stdin))
        }
    };
    if let Err(error) = feed {
        kill_tree(tree, &variable);
        return Err(Failure::system("cannot start a thread for the command's input", &error));
    }

    let first = match deadline {
        None => ended.recv().map_err(|_| RecvTimeoutError::Disconnected),
        Some(deadline) => ended.recv_timeout(deadline.saturating_duration_since(Instant::now())),
    };
    let end = match first {
        Ok(Event::Ended(Ending::Exited(code))) => ExecEnd::Exited(code),
        Ok(Event::Ended(Ending::Signalled(signal))) => ExecEnd::Signalled(signal),
        other => {
            kill_tree(tree, &variable);
            if matches!(other, Err(RecvTimeoutError::Timeout)) {
                ExecEnd::TimedOut
            } else {
                ExecEnd::Cancelled
            }
        }
    };
    drop(over_in);
    // Ends with an error when the pump drops its side: what the command printed has been sent.
    let _ = drained.recv();
    Ok(end)
}

/// A program that cannot be started ends as it would under a shell, so that it is the task's own failure.
fn not_started(channel: &Channel, start: &ExecStart, error: &io::Error) -> Result<ExecEnd, Failure> {
    let program = start.argv.first().map_or("", String::as_str);
    let code = match error.kind() {
        io::ErrorKind::NotFound => NOT_FOUND,
        io::ErrorKind::PermissionDenied => NOT_RUNNABLE,
        _ if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => NOT_RUNNABLE,
        _ => return Err(Failure::system(&format!("cannot start {program}"), error)),
    };
    // A client that is gone reads neither this nor the reply.
    let _ = channel.send(format!("{program}: {error}\n").as_bytes());
    Ok(ExecEnd::Exited(code))
}

/// Sends a command's output until the command is over, then reads on without sending: what it left running
/// may print and must neither block nor be killed by a closed pipe.
///
/// `over` ends when the command does. What it had printed is then in the pipe, at most its capacity; as
/// others may go on filling it, just so much is still sent.
fn pump(channel: &Channel, output: OwnedFd, over: &OwnedFd, pumped: mpsc::Sender<()>) {
    let mut buffer = vec![0; CHUNK];
    let mut output = File::from(output);
    let mut left = None;
    let mut wanted = true;
    while wanted && left != Some(0) {
        if left.is_none() {
            let mut watched = [PollFd::new(&output, PollFlags::IN), PollFd::new(over, PollFlags::IN)];
            if poll(&mut watched, None).is_err() {
                continue;
            }
            if !watched[1].revents().is_empty() {
                left = Some(rustix::io::ioctl_fionread(&output).unwrap_or(0));
                continue;
            }
        }
        let limit =
            left.map_or(buffer.len(), |left| buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
        match output.read(&mut buffer[..limit]) {
            Ok(0) => return,
            Ok(count) => {
                left = left.map(|left| left.saturating_sub(count as u64));
                wanted = channel.send(&buffer[..count]).is_ok();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
    drop(pumped);
    loop {
        match output.read(&mut buffer) {
            Ok(0) => return,
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return,
            _ => {}
        }
    }
}

/// Writes what the client sends to the command, until one of them has enough.
fn feed(channel: &Channel, mut stdin: std::process::ChildStdin) {
    while let Some(bytes) = channel.receive() {
        if stdin.write_all(&bytes).is_err() {
            return;
        }
    }
}

/// 32 hexadecimal digits, new for each command.
fn invocation_id() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    // The standard library's hasher is seeded by the system; twice 64 bits of it name a command well enough.
    let half = || RandomState::new().hash_one(Instant::now());
    format!("{:016x}{:016x}", half(), half())
}

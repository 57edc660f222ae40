//! Terminals: a PTY, the program in it, and the emulator that reads it.

mod emulator;
#[cfg(test)]
mod emulator_tests;
mod grid;
mod keys;
#[cfg(test)]
mod samples;
mod screen;
#[cfg(test)]
mod tmux_tests;
mod width;

use crate::connection::{Channel, lock};
use crate::process::{Launch, Reaper, prepare};
use crate::protocol::{CHUNK, Failure, FailureKind, Reply, TerminalOpen};
use emulator::Emulator;
use rustix::fs::Mode;
use rustix::pty::OpenptFlags;
use rustix::termios::{InputModes, OptionalActions, Winsize};
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// How many typed bytes wait for a program that does not read them.
const UNREAD: usize = 1024 * 1024;

/// The terminals of one connection. They stay until the helper ends.
#[derive(Default)]
pub(crate) struct Terminals {
    open: Mutex<HashMap<u32, Arc<Terminal>>>,
}

impl Terminals {
    /// Opens a terminal and starts its program.
    pub(crate) fn open(&self, reaper: &Reaper, request: &TerminalOpen) -> Reply {
        match Terminal::start(reaper, request) {
            Ok(terminal) => {
                let mut open = lock(&self.open);
                // Numbers are never given back, as terminals stay; so there is always a next one.
                let number = u32::try_from(open.len()).unwrap_or(u32::MAX);
                open.insert(number, terminal);
                Reply::Terminal { terminal: number }
            }
            Err(failure) => Reply::Failed(failure),
        }
    }

    fn get(&self, number: u32) -> Result<Arc<Terminal>, Failure> {
        lock(&self.open)
            .get(&number)
            .cloned()
            .ok_or_else(|| Failure::new(FailureKind::NotFound, format!("there is no terminal {number}")))
    }

    /// Types keys.
    pub(crate) fn keys(&self, number: u32, keys: &str) -> Result<(), Failure> {
        self.get(number)?.keys(keys)
    }

    /// Refuses keys from now on, and forgets those that the program has not read yet.
    pub(crate) fn freeze(&self, number: u32) -> Result<(), Failure> {
        let terminal = self.get(number)?;
        terminal.frozen.store(true, Ordering::SeqCst);
        lock(&terminal.typed).clear();
        Ok(())
    }

    /// Whether the program runs.
    pub(crate) fn alive(&self, number: u32) -> Reply {
        match self.get(number) {
            Ok(terminal) => Reply::Alive { alive: terminal.alive.load(Ordering::SeqCst) },
            Err(failure) => Reply::Failed(failure),
        }
    }

    /// Sends the screen, or history and screen, as data.
    pub(crate) fn text(&self, channel: &Channel, number: u32, history: bool) {
        let reply = match self.get(number) {
            Ok(terminal) => {
                let text = lock(&terminal.emulator).text(history);
                // A client that is gone reads no reply either.
                let _ = channel.send(text.as_bytes());
                Reply::Ok
            }
            Err(failure) => Reply::Failed(failure),
        };
        channel.done(&reply);
    }
}

struct Terminal {
    emulator: Mutex<Emulator>,
    /// What is to be written to the program.
    typed: Mutex<VecDeque<u8>>,
    more_typed: Condvar,
    frozen: AtomicBool,
    alive: AtomicBool,
}

impl Terminal {
    fn start(reaper: &Reaper, request: &TerminalOpen) -> Result<Arc<Self>, Failure> {
        let mut command = prepare(&Launch {
            argv: &request.argv,
            user: request.user.as_deref(),
            cwd: request.cwd.as_deref(),
            env: &request.env,
            terminal: true,
            warden: false,
        })?;
        let failed = |error: io::Error| Failure::system("cannot open a terminal", &error);
        let (master, slave) = open_pty(request).map_err(failed)?;
        command.stdin(slave.try_clone().map_err(failed)?);
        command.stdout(slave.try_clone().map_err(failed)?);
        command.stderr(slave);
        let terminal = Arc::new(Self {
            emulator: Mutex::new(Emulator::new(request.columns, request.rows)),
            typed: Mutex::new(VecDeque::new()),
            more_typed: Condvar::new(),
            frozen: AtomicBool::new(false),
            alive: AtomicBool::new(true),
        });
        let (output, input) = (File::from(master.try_clone().map_err(failed)?), File::from(master));
        let ended = Arc::clone(&terminal);
        let spawned = reaper.spawn(&mut command, false, move |_| ended.alive.store(false, Ordering::SeqCst));
        spawned.map_err(|error| {
            let program = request.argv.first().map_or("", String::as_str);
            let kind = match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => FailureKind::NotFound,
                _ => FailureKind::System,
            };
            Failure::new(kind, format!("cannot start {program} in a terminal: {error}"))
        })?;
        let reading = Arc::clone(&terminal);
        crate::spawn("terminal output", move || reading.read(output)).map_err(failed)?;
        let writing = Arc::clone(&terminal);
        crate::spawn("terminal input", move || writing.write(input)).map_err(failed)?;
        Ok(terminal)
    }

    /// Feeds the emulator until nothing has the terminal open any more.
    fn read(&self, mut output: File) {
        let mut buffer = vec![0; CHUNK];
        loop {
            match output.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => {
                    let answers = {
                        let mut emulator = lock(&self.emulator);
                        emulator.feed(&buffer[..count]);
                        emulator.take_answers()
                    };
                    // A program that does not read its answers loses them.
                    self.queue(&answers);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // EIO: the last descriptor on the other side was closed.
                Err(_) => return,
            }
        }
    }

    fn write(&self, mut input: File) {
        loop {
            let bytes = {
                let mut typed = lock(&self.typed);
                while typed.is_empty() {
                    typed = self.more_typed.wait(typed).unwrap_or_else(PoisonError::into_inner);
                }
                let count = typed.len().min(4096);
                typed.drain(..count).collect::<Vec<_>>()
            };
            if input.write_all(&bytes).is_err() {
                return;
            }
        }
    }

    /// False when too much waits already.
    fn queue(&self, bytes: &[u8]) -> bool {
        let mut typed = lock(&self.typed);
        if typed.len() + bytes.len() > UNREAD {
            return false;
        }
        typed.extend(bytes);
        self.more_typed.notify_all();
        true
    }

    fn keys(&self, keys: &str) -> Result<(), Failure> {
        if self.frozen.load(Ordering::SeqCst) {
            return Err(Failure::new(FailureKind::Refused, "the terminal takes no more keys"));
        }
        if !self.alive.load(Ordering::SeqCst) {
            return Err(Failure::new(FailureKind::Refused, "the terminal's program has ended"));
        }
        let application_cursor = lock(&self.emulator).application_cursor_keys();
        if self.queue(&keys::encode(keys, application_cursor)) {
            Ok(())
        } else {
            Err(Failure::new(
                FailureKind::Refused,
                format!("the terminal's program has left {UNREAD} typed bytes unread"),
            ))
        }
    }
}

/// Opens a PTY of the size asked for.
fn open_pty(request: &TerminalOpen) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = rustix::pty::openpt(flags)?;
    rustix::pty::grantpt(&master)?;
    rustix::pty::unlockpt(&master)?;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
    let size = Winsize { ws_row: request.rows, ws_col: request.columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&slave, size)?;
    let mut attributes = rustix::termios::tcgetattr(&slave)?;
    // Erasing takes whole characters back.
    attributes.input_modes |= InputModes::IUTF8;
    rustix::termios::tcsetattr(&slave, OptionalActions::Now, &attributes)?;
    // Whoever the program runs as may open it by its name.
    rustix::fs::fchmod(&slave, Mode::from_raw_mode(0o666))?;
    Ok((master, slave))
}

//! The helper's main loop: reads frames, hands requests to their handlers.

use crate::connection::{Channel, Outlet, lock};
use crate::exec;
use crate::files;
use crate::forward;
use crate::process::{self, Reaper};
use crate::protocol::{Failure, FailureKind, Frame, FrameError, Hello, Kind, Reply, Request, VERSION};
use crate::sandbox::Private;
use crate::terminal::Terminals;
use rustix::io::FdFlags;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

/// How many channels may be open at once.
const MAX_CHANNELS: usize = 4096;

/// How many threads are kept for when no new one can be had.
const SPARE_THREADS: usize = 2;

/// Serves one client until it closes `input`.
///
/// Works as process 1 of a pid namespace or as any process, which becomes a child subreaper: it collects
/// **every** child of the calling process, so the caller must not wait for children of its own. Both
/// descriptors are made close-on-exec. Returns when the connection ends; commands that still run are left to
/// the caller (in a pid namespace they end with process 1).
///
/// # Errors
/// The connection carried something that is not the protocol, could not be read, or the first thread could
/// not be started.
pub fn serve(input: impl Into<OwnedFd>, output: impl Into<OwnedFd>) -> io::Result<()> {
    serve_with(input.into(), output.into(), None)
}

/// [`serve`], with a private view for the requests that ask for one.
pub(crate) fn serve_with(input: OwnedFd, output: OwnedFd, private: Option<Private>) -> io::Result<()> {
    harden(&input, &output)?;
    let session = Arc::new(Session {
        outlet: Arc::new(Outlet::new(File::from(output))),
        channels: Mutex::new(HashMap::new()),
        reaper: Reaper::start()?,
        terminals: Terminals::default(),
        spares: Spares::start()?,
        private,
    });
    let result = session.run(&mut BufReader::with_capacity(64 * 1024, File::from(input)));
    // Handlers that wait for the client would wait for ever.
    for (_, channel) in lock(&session.channels).drain() {
        channel.cancel();
    }
    result
}

/// Keeps what runs inside away from the helper and its connection, as far as one process can.
fn harden(input: &OwnedFd, output: &OwnedFd) -> io::Result<()> {
    for fd in [input, output] {
        rustix::io::fcntl_setfd(fd, FdFlags::CLOEXEC)?;
    }
    close_on_exec();
    // Another process of the same user may then neither trace it nor open its descriptors through /proc.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    // Orphans come to us; process 1 gets them anyway.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}

/// Makes every descriptor but the standard streams close-on-exec, also those that whoever started the helper
/// let it inherit: no command may find one it was not given.
fn close_on_exec() {
    // Without /proc there is nothing to go by; the connection itself has been seen to already.
    let Ok(folder) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<i32> =
        folder.flatten().filter_map(|item| item.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        #[expect(unsafe_code, reason = "an inherited descriptor has no owner to borrow it from")]
        // SAFETY: nothing else runs in this process yet that could close it between the listing and this call;
        // the folder's own, which is closed by now, gives an error and no harm.
        let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
        let _ = rustix::io::fcntl_setfd(borrowed, FdFlags::CLOEXEC);
    }
}

struct Session {
    outlet: Arc<Outlet>,
    channels: Mutex<HashMap<u32, Arc<Channel>>>,
    reaper: Arc<Reaper>,
    terminals: Terminals,
    spares: Spares,
    private: Option<Private>,
}

type Job = Box<dyn FnOnce() + Send>;
type Shared = Arc<Mutex<Option<Job>>>;

fn run_once(job: &Shared) {
    let job = lock(job).take();
    if let Some(job) = job {
        job();
    }
}

/// Threads kept for requests that come when no new thread can be had.
struct Spares {
    jobs: mpsc::Sender<Shared>,
    idle: Arc<AtomicUsize>,
}

impl Spares {
    fn start() -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Shared>();
        let queue = Arc::new(Mutex::new(queue));
        let idle = Arc::new(AtomicUsize::new(SPARE_THREADS));
        for _ in 0..SPARE_THREADS {
            let (queue, idle) = (Arc::clone(&queue), Arc::clone(&idle));
            crate::spawn("spare", move || {
                loop {
                    let next = lock(&queue).recv();
                    let Ok(job) = next else { return };
                    run_once(&job);
                    idle.fetch_add(1, Ordering::SeqCst);
                }
            })?;
        }
        Ok(Self { jobs, idle })
    }

    /// Gives `job` to an idle thread, if there is one.
    fn take(&self, job: &Shared) -> bool {
        let less = |idle: usize| idle.checked_sub(1);
        self.idle.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok()
            && self.jobs.send(Arc::clone(job)).is_ok()
    }
}

impl Session {
    fn run(self: &Arc<Self>, input: &mut BufReader<File>) -> io::Result<()> {
        let hello = Hello { version: VERSION, pid: rustix::process::getpid().as_raw_nonzero().get() };
        if self.outlet.write(&Frame::json(Kind::Hello, 0, &hello)?).is_err() {
            return Ok(());
        }
        let Some(first) = Frame::read_from(&mut *input)? else { return Ok(()) };
        let theirs: Hello = first.parse()?;
        if first.kind != Kind::Hello || theirs.version != VERSION {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "the client speaks version {} of the protocol, this helper {VERSION}",
                    theirs.version
                ),
            ));
        }
        while let Some(frame) = Frame::read_from(&mut *input)? {
            self.take(frame)?;
        }
        Ok(())
    }

    fn take(self: &Arc<Self>, frame: Frame) -> io::Result<()> {
        if frame.kind == Kind::Open {
            return self.open(&frame);
        }
        let channel = lock(&self.channels).get(&frame.channel).cloned();
        // A channel that was closed meanwhile: the client has not read that yet.
        let Some(channel) = channel else { return Ok(()) };
        match frame.kind {
            Kind::Data => {
                if !channel.arrived(frame.body) {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!("channel {} sent more than its window allows", frame.channel),
                    ));
                }
            }
            Kind::End => channel.ended(),
            Kind::Credit => channel.credited(frame.parse_credit()?),
            Kind::Cancel => channel.cancel(),
            Kind::Hello | Kind::Open | Kind::Done => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("a {:?} frame where none belongs", frame.kind),
                ));
            }
        }
        Ok(())
    }

    fn open(self: &Arc<Self>, frame: &Frame) -> io::Result<()> {
        let request: Request = frame.parse()?;
        let channel = Arc::new(Channel::new(frame.channel, Arc::clone(&self.outlet)));
        {
            let mut channels = lock(&self.channels);
            if channels.len() >= MAX_CHANNELS || channels.contains_key(&frame.channel) {
                let problem = FrameError::Body {
                    kind: Kind::Open,
                    problem: format!("channel {} is open already, or too many are", frame.channel),
                };
                return Err(problem.into());
            }
            channels.insert(frame.channel, Arc::clone(&channel));
        }
        self.dispatch(&channel, request);
        Ok(())
    }

    /// What ends processes is done by this thread itself: when the inside has used up all processes and
    /// threads it may have, no new thread can be had.
    fn dispatch(self: &Arc<Self>, channel: &Arc<Channel>, request: Request) {
        let id = channel.id();
        match request {
            Request::Exec(start) if start.private && self.private.is_some() => {
                self.in_private(channel, move |session, channel, _| {
                    exec::run(&session.reaper, channel, &start);
                });
            }
            Request::Get(mut get) if get.private && self.private.is_some() => {
                self.in_private(channel, move |_, channel, folder| {
                    folder.clone_into(&mut get.source);
                    files::get(channel, &get);
                });
            }
            Request::Exec(start) => {
                self.in_thread(channel, move |session, channel| exec::run(&session.reaper, channel, &start));
            }
            Request::Put(put) => {
                self.in_thread(channel, move |_, channel| files::put(channel, &put));
            }
            Request::Get(get) => {
                self.in_thread(channel, move |_, channel| files::get(channel, &get));
            }
            Request::IsFolder { path } => {
                channel.done(&Reply::IsFolder { folder: std::path::Path::new(&path).is_dir() });
                self.close(id);
            }
            Request::Processes => {
                channel.done(&Reply::Processes { processes: process::processes(&self.reaper) });
                self.close(id);
            }
            Request::Signal { signal } => self.answer(channel, process::signal_all(&self.reaper, signal)),
            Request::KillAll => self.answer(channel, process::kill_all()),
            Request::TerminalOpen(open) => {
                self.in_thread(channel, move |session, channel| {
                    channel.done(&session.terminals.open(&session.reaper, &open));
                });
            }
            Request::TerminalText { terminal, history } => {
                self.in_thread(channel, move |session, channel| {
                    session.terminals.text(channel, terminal, history);
                });
            }
            Request::TerminalKeys { terminal, keys } => {
                self.answer(channel, self.terminals.keys(terminal, &keys));
            }
            Request::TerminalFreeze { terminal } => self.answer(channel, self.terminals.freeze(terminal)),
            Request::TerminalAlive { terminal } => {
                channel.done(&self.terminals.alive(terminal));
                self.close(id);
            }
            Request::Forward(forward) => self.in_thread(channel, move |_, channel| {
                channel.done(&forward::start(&forward));
            }),
        }
    }

    fn answer(&self, channel: &Channel, result: Result<(), Failure>) {
        channel.done(&result.map_or_else(Reply::Failed, |()| Reply::Ok));
        self.close(channel.id());
    }

    /// Runs `handler`, which closes the channel, in a thread of its own.
    fn in_thread(
        self: &Arc<Self>,
        channel: &Arc<Channel>,
        handler: impl FnOnce(&Arc<Self>, &Arc<Channel>) + Send + 'static,
    ) {
        let (session, own) = (Arc::clone(self), Arc::clone(channel));
        let handle: Job = Box::new(move || {
            handler(&session, &own);
            session.close(own.id());
        });
        let job = Arc::new(Mutex::new(Some(handle)));
        let start = || {
            let job = Arc::clone(&job);
            crate::spawn("request", move || run_once(&job))
        };
        // A spare thread first: what the inside has started need not be ended for it.
        let started = match start() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && self.spares.take(&job) => return,
            Err(_) => process::with_room(start),
            Ok(()) => return,
        };
        if let Err(error) = started {
            let failure = Failure::system("the helper cannot start a thread for the request", &error);
            self.answer(channel, Err(failure));
        }
    }

    /// Runs `handler` in the private view; it gets the path of the private folder.
    fn in_private(
        self: &Arc<Self>,
        channel: &Arc<Channel>,
        handler: impl FnOnce(&Arc<Self>, &Arc<Channel>, &str) + Send + 'static,
    ) {
        let (session, own) = (Arc::clone(self), Arc::clone(channel));
        let given = self.private.as_ref().is_some_and(|private| {
            private.run(move |folder| match folder {
                Ok(folder) => {
                    handler(&session, &own, folder);
                    session.close(own.id());
                }
                Err(error) => session.answer(&own, Err(Failure::new(FailureKind::System, error.to_string()))),
            })
        });
        if !given {
            let failure = Failure::new(FailureKind::System, "the thread of the private view is gone");
            self.answer(channel, Err(failure));
        }
    }

    fn close(&self, id: u32) {
        lock(&self.channels).remove(&id);
    }
}

//! The client's end of the connection: a task that reads, a task that writes, and a channel per request.

use crate::environment::EnvironmentError;
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use trajgen_contract::outcome::ErrorType;
use trajgen_guest::protocol::{
    CHUNK, Frame, HEADER_LEN, Header, Hello, Kind, Reply, Request, VERSION, WINDOW,
};

/// What arrives on a channel.
pub(super) enum Arrival {
    /// Bytes, in order.
    Data(Vec<u8>),
    /// The last thing to arrive.
    Done(Reply),
}

/// A channel as the reading task sees it.
struct Slot {
    arrivals: mpsc::UnboundedSender<Arrival>,
    /// Bytes that arrived and were not taken yet; never more than the window, whatever the helper does.
    waiting: Arc<Mutex<u32>>,
    /// Permits are bytes that may be sent.
    credit: Arc<Semaphore>,
}

#[derive(Default)]
struct Shared {
    slots: Mutex<HashMap<u32, Slot>>,
    lost: OnceLock<String>,
    lost_notify: Notify,
    ended: CancellationToken,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Ends the connection; only the first reason counts.
    fn lose(&self, reason: &str) {
        let mut slots = lock(&self.slots);
        // A later reason follows from the first.
        let _ = self.lost.set(reason.to_owned());
        // Without their senders all receivers end.
        for (_, slot) in slots.drain() {
            slot.credit.close();
        }
        drop(slots);
        self.ended.cancel();
        self.lost_notify.notify_waiters();
    }

    fn error(&self) -> EnvironmentError {
        let reason = self.lost.get().map_or("it ended", String::as_str);
        EnvironmentError::new(
            ErrorType::EnvironmentLostError,
            format!("the connection to the guest helper inside the environment is lost: {reason}"),
        )
    }
}

/// The connection.
pub(super) struct Connection {
    shared: Arc<Shared>,
    /// Bounded by the windows of the channels, as all data waits for credit first.
    frames: mpsc::UnboundedSender<Frame>,
    next: AtomicU32,
}

impl Connection {
    /// Shakes hands and starts both tasks.
    pub(super) async fn establish(
        reader: impl AsyncRead + Send + Unpin + 'static,
        mut writer: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Result<Self, EnvironmentError> {
        let mut reader = BufReader::with_capacity(64 * 1024, reader);
        shake_hands(&mut reader, &mut writer).await.map_err(|error| {
            EnvironmentError::new(
                ErrorType::EnvironmentLostError,
                format!("the guest helper inside the environment does not answer: {error}"),
            )
        })?;
        let shared = Arc::new(Shared::default());
        let (frames, queue) = mpsc::unbounded_channel();
        let reading = Arc::clone(&shared);
        tokio::spawn(async move {
            let ended = reading.ended.clone();
            let reason = tokio::select! {
                () = ended.cancelled() => return,
                reason = read(&reading, &mut reader) => reason,
            };
            reading.lose(&reason);
        });
        let writing = Arc::clone(&shared);
        tokio::spawn(async move {
            let ended = writing.ended.clone();
            tokio::select! {
                () = ended.cancelled() => {}
                result = write(&mut writer, queue) => {
                    if let Err(error) = result {
                        writing.lose(&format!("writing failed: {error}"));
                    }
                }
            }
            // Its end of input tells the helper to end; a helper that is gone has ended already.
            let _ = writer.shutdown().await;
        });
        Ok(Self { shared, frames, next: AtomicU32::new(1) })
    }

    /// Opens a channel for `request`.
    pub(super) fn open(&self, request: &Request) -> Result<Channel, EnvironmentError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let frame = Frame::json(Kind::Open, id, request).map_err(|error| {
            EnvironmentError::new(
                ErrorType::EnvironmentBuildError,
                format!("the request to the guest helper is too long: {error}"),
            )
        })?;
        let (arrivals, incoming) = mpsc::unbounded_channel();
        let waiting = Arc::new(Mutex::new(0));
        let credit = Arc::new(Semaphore::new(WINDOW as usize));
        {
            let mut slots = lock(&self.shared.slots);
            if self.shared.lost.get().is_some() {
                return Err(self.shared.error());
            }
            let slot = Slot { arrivals, waiting: Arc::clone(&waiting), credit: Arc::clone(&credit) };
            slots.insert(id, slot);
        }
        let shared = Arc::clone(&self.shared);
        let channel =
            Channel { id, shared, frames: self.frames.clone(), incoming, waiting, credit, done: false };
        channel.queue(frame)?;
        Ok(channel)
    }

    /// Opens a channel for a request without data and waits for its reply.
    pub(super) async fn request(&self, request: &Request) -> Result<Reply, EnvironmentError> {
        let mut channel = self.open(request)?;
        loop {
            if let Arrival::Done(reply) = channel.next().await? {
                return Ok(reply);
            }
        }
    }

    pub(super) fn close(&self, reason: &str) {
        self.shared.lose(reason);
    }

    pub(super) async fn lost(&self) -> EnvironmentError {
        self.shared.ended.cancelled().await;
        self.shared.error()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close("it was closed by trajgen");
    }
}

/// One request's channel. Dropped before its reply came, it cancels the request.
pub(super) struct Channel {
    id: u32,
    shared: Arc<Shared>,
    frames: mpsc::UnboundedSender<Frame>,
    incoming: mpsc::UnboundedReceiver<Arrival>,
    waiting: Arc<Mutex<u32>>,
    credit: Arc<Semaphore>,
    done: bool,
}

impl Channel {
    /// What comes next; after [`Arrival::Done`] nothing does.
    pub(super) async fn next(&mut self) -> Result<Arrival, EnvironmentError> {
        let arrival = self.incoming.recv().await.ok_or_else(|| self.shared.error())?;
        match &arrival {
            Arrival::Done(_) => self.done = true,
            Arrival::Data(bytes) => {
                // The reading task let no more through than the window, which is a u32.
                let count = u32::try_from(bytes.len()).unwrap_or(WINDOW);
                let mut waiting = lock(&self.waiting);
                *waiting = waiting.saturating_sub(count);
                drop(waiting);
                self.queue(Frame::credit(self.id, count))?;
            }
        }
        Ok(arrival)
    }

    /// What sends data on this channel.
    pub(super) fn sender(&self) -> Sender {
        Sender {
            id: self.id,
            shared: Arc::clone(&self.shared),
            frames: self.frames.clone(),
            credit: Arc::clone(&self.credit),
        }
    }

    fn queue(&self, frame: Frame) -> Result<(), EnvironmentError> {
        self.frames.send(frame).map_err(|_| self.shared.error())
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        lock(&self.shared.slots).remove(&self.id);
        self.credit.close();
        if !self.done {
            // Nobody to tell when the connection is lost.
            let _ = self.frames.send(Frame::new(Kind::Cancel, self.id, Vec::new()));
        }
    }
}

/// Sends data on a channel.
pub(super) struct Sender {
    id: u32,
    shared: Arc<Shared>,
    frames: mpsc::UnboundedSender<Frame>,
    credit: Arc<Semaphore>,
}

impl Sender {
    /// Sends `bytes`, waiting for the helper to take them. `Ok(false)` when the request ended meanwhile.
    pub(super) async fn send(&self, bytes: &[u8]) -> Result<bool, EnvironmentError> {
        for chunk in bytes.chunks(CHUNK) {
            let count = u32::try_from(chunk.len()).unwrap_or(WINDOW);
            let Ok(permit) = self.credit.acquire_many(count).await else { return Ok(false) };
            permit.forget();
            let frame = Frame::new(Kind::Data, self.id, chunk.to_vec());
            self.frames.send(frame).map_err(|_| self.shared.error())?;
        }
        Ok(true)
    }

    /// Says that no more comes.
    pub(super) fn end(&self) -> Result<(), EnvironmentError> {
        self.frames.send(Frame::new(Kind::End, self.id, Vec::new())).map_err(|_| self.shared.error())
    }
}

async fn shake_hands(
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let pid = i32::try_from(std::process::id()).unwrap_or_default();
    let hello = Frame::json(Kind::Hello, 0, &Hello { version: VERSION, pid })?;
    put(writer, &hello).await?;
    writer.flush().await?;
    let answer = next_frame(reader).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let theirs: Hello = answer.parse()?;
    if answer.kind != Kind::Hello || theirs.version != VERSION {
        let problem = format!("it speaks version {}, this trajgen {VERSION}", theirs.version);
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    Ok(())
}

async fn next_frame(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Frame>> {
    let mut header = [0; HEADER_LEN];
    let first = reader.read(&mut header).await?;
    if first == 0 {
        return Ok(None);
    }
    reader.read_exact(&mut header[first..]).await?;
    let header = Header::decode(&header)?;
    let mut body = vec![0; header.length];
    reader.read_exact(&mut body).await?;
    Ok(Some(Frame::new(header.kind, header.channel, body)))
}

async fn put(writer: &mut (impl AsyncWrite + Unpin), frame: &Frame) -> io::Result<()> {
    writer.write_all(&frame.header().encode()).await?;
    writer.write_all(&frame.body).await
}

/// Hands out what arrives until the connection ends; says why it did.
async fn read(shared: &Shared, reader: &mut (impl AsyncRead + Unpin)) -> String {
    loop {
        let frame = match next_frame(reader).await {
            Ok(Some(frame)) => frame,
            Ok(None) => return "the helper has ended".to_owned(),
            Err(error) => return error.to_string(),
        };
        if let Err(problem) = deliver(shared, frame) {
            return problem;
        }
    }
}

/// The helper may have been taken over by what runs inside: nothing it sends may grow memory or panic.
fn deliver(shared: &Shared, frame: Frame) -> Result<(), String> {
    let mut slots = lock(&shared.slots);
    // A channel that was dropped meanwhile.
    let Some(slot) = slots.get(&frame.channel) else { return Ok(()) };
    // A receiver that is gone has dropped the channel; its slot goes at the same moment.
    match frame.kind {
        Kind::Data => {
            let count = u32::try_from(frame.body.len()).unwrap_or(u32::MAX);
            let mut waiting = lock(&slot.waiting);
            *waiting = waiting.saturating_add(count);
            if *waiting > WINDOW || count == 0 {
                return Err(format!("channel {} sent more than its window allows", frame.channel));
            }
            drop(waiting);
            let _ = slot.arrivals.send(Arrival::Data(frame.body));
        }
        Kind::Credit => {
            let bytes = frame.parse_credit().map_err(|error| error.to_string())? as usize;
            let room = (WINDOW as usize).saturating_sub(slot.credit.available_permits());
            slot.credit.add_permits(bytes.min(room));
        }
        Kind::Done => {
            let reply = frame.parse().map_err(|error| error.to_string())?;
            if let Some(slot) = slots.remove(&frame.channel) {
                slot.credit.close();
                let _ = slot.arrivals.send(Arrival::Done(reply));
            }
        }
        Kind::End => {}
        Kind::Hello | Kind::Open | Kind::Cancel => {
            return Err(format!("a {:?} frame where none belongs", frame.kind));
        }
    }
    Ok(())
}

async fn write(
    writer: &mut (impl AsyncWrite + Unpin),
    mut queue: mpsc::UnboundedReceiver<Frame>,
) -> io::Result<()> {
    while let Some(frame) = queue.recv().await {
        put(writer, &frame).await?;
        writer.flush().await?;
    }
    Ok(())
}

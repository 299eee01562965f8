//! What callers stream in: taken up some at a time, each lot answered. While one lot is written, the next is read and decoded; what nobody
//! has room for waits in the caller's hands.

use std::time::Duration;

use tokio::{
    sync::{Semaphore, mpsc},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::rpc::{Fault, Reason};

/// How many bytes they have on the wire at most, but for the last.
const LARGEST: usize = 1_024 * 1_024;
/// After how long without a next one a lot is taken up as it is.
const PAUSE: Duration = Duration::from_millis(100);
/// After how long without any the call ends.
const IDLE: Duration = Duration::from_secs(60);
/// How many streams are taken up at once; each has a few lots in memory.
const MOST_AT_ONCE: usize = 32;
/// How many answers wait for a caller who reads slowly.
const AHEAD: usize = 4;

static ROOM: Semaphore = Semaphore::const_new(MOST_AT_ONCE);

/// What takes lots up.
pub trait TakeUp: Send {
    /// How many things a lot holds at most: enough to share a transaction's cost, few enough to keep others waiting only shortly.
    const MOST: usize;
    /// One thing of a lot.
    type Item: Send + 'static;
    /// What a lot is answered.
    type Answer: Send + 'static;

    /// Takes a lot up; what is answered is durable.
    fn take_up(&mut self, lot: Vec<Self::Item>) -> impl Future<Output = Result<Self::Answer, Fault>> + Send;
}

/// The answers as they are made.
pub type Answers<A> = ReceiverStream<Result<A, Status>>;

/// Does what a caller streams for, and ends the stream with what went wrong.
pub fn answer<A, F>(work: impl FnOnce(mpsc::Sender<Result<A, Status>>) -> F) -> Answers<A>
where
    A: Send + 'static,
    F: Future<Output = Result<(), Status>> + Send + 'static,
{
    let (out, answers) = mpsc::channel(AHEAD);
    let work = match ROOM.try_acquire() {
        Ok(room) => {
            let work = work(out.clone());
            Ok(tokio::spawn(async move {
                let _room = room;
                work.await
            }))
        }
        Err(_) => Err(Fault::refused(Reason::Overloaded, "", "too many streams at once").into()),
    };
    tokio::spawn(async move {
        let ended = match work {
            Ok(work) => work.await.unwrap_or_else(|panic| Err(broken(&panic))),
            Err(status) => Err(status),
        };
        if let Err(status) = ended {
            let _ = out.send(Err(status)).await;
        }
    });
    ReceiverStream::new(answers)
}

/// The first message of a stream; none = the stream was empty.
pub async fn first<M>(messages: &mut Streaming<M>) -> Result<Option<M>, Status> {
    timeout(IDLE, messages.message()).await.map_err(|_| idle())?.map_err(unreadable)
}

/// Reads and decodes message by message, and takes up lot by lot, until the stream ends, nobody listens any more or something goes wrong.
pub async fn all<M: prost::Message + 'static, T: TakeUp>(
    messages: Streaming<M>,
    out: mpsc::Sender<Result<T::Answer, Status>>,
    decode: impl FnMut(M) -> Result<T::Item, Fault> + Send + 'static,
    mut taker: T,
) -> Result<(), Status> {
    let (lots, mut waiting) = mpsc::channel(1);
    let reading = tokio::spawn(read(messages, decode, lots, T::MOST));
    let abort = reading.abort_handle();
    while let Some(lot) = waiting.recv().await {
        let answer = match taker.take_up(lot).await {
            Ok(answer) => answer,
            Err(fault) => {
                abort.abort();
                return Err(fault.into());
            }
        };
        if out.send(Ok(answer)).await.is_err() {
            abort.abort();
            return Ok(());
        }
    }
    reading.await.unwrap_or_else(|panic| Err(broken(&panic)))
}

async fn read<M: prost::Message, T>(
    mut messages: Streaming<M>,
    mut decode: impl FnMut(M) -> Result<T, Fault>,
    lots: mpsc::Sender<Vec<T>>,
    most: usize,
) -> Result<(), Status> {
    let (mut lot, mut size) = (Vec::new(), 0);
    loop {
        let patience = if lot.is_empty() { IDLE } else { PAUSE };
        let ended = match timeout(patience, messages.message()).await {
            Ok(Ok(Some(message))) => {
                size += message.encoded_len();
                match decode(message) {
                    Ok(one) => lot.push(one),
                    Err(fault) => return pass_on(&lots, lot).await.and(Err(fault.into())),
                }
                None
            }
            Ok(Ok(None)) => Some(Ok(())),
            Ok(Err(status)) => Some(Err(unreadable(status))),
            Err(_) if lot.is_empty() => Some(Err(idle())),
            Err(_) => {
                size = LARGEST;
                None
            }
        };
        if let Some(ended) = ended {
            return pass_on(&lots, lot).await.and(ended);
        }
        if lot.len() >= most || size >= LARGEST {
            pass_on(&lots, std::mem::take(&mut lot)).await?;
            size = 0;
        }
    }
}

async fn pass_on<T>(lots: &mpsc::Sender<Vec<T>>, lot: Vec<T>) -> Result<(), Status> {
    if !lot.is_empty() {
        // Nobody takes it any more: whoever wrote said why.
        let _ = lots.send(lot).await;
    }
    Ok(())
}

fn idle() -> Status {
    let message = "nothing came for a minute; what was answered is done, go on with the rest";
    Fault::refused(Reason::ServerDeadline, "", message).into()
}

/// A message that is too large or does not decode, with the details that all errors have.
fn unreadable(status: Status) -> Status {
    match status.code() {
        Code::OutOfRange | Code::ResourceExhausted | Code::Internal if status.details().is_empty() => {
            let message = "a message of the stream does not decode, or is larger than the 4 MiB that one may have";
            Fault::refused(Reason::InvalidFields, "", message).into()
        }
        _ => status,
    }
}

fn broken(panic: &tokio::task::JoinError) -> Status {
    tracing::error!(error = %panic, "a stream broke off");
    Fault::refused(Reason::Internal, "", "the service broke off; what was answered is done").into()
}

//! What streams in both directions have in common: a way out that never waits for ever, and what a message is refused for
//! before anybody looks at what it says. What is said on a stream is in `attach` and `starts`.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use amends_orchestrator::Refusal;
use futures_util::Stream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tracing::Instrument as _;

use crate::limits::{BATCH_ITEMS_MAX, CLOSE_GRACE, OUTGOING_MESSAGES, SEND_TIMEOUT};
use crate::status::{decoder_refusal, invalid, status_of};

/// Where a session says what is for its peer.
pub(crate) type Out<T> = mpsc::Sender<Result<T, Status>>;

/// What a peer is told, and its place among the streams. HTTP/2 asks for nothing while the peer does not read, for as long
/// as it likes: so its session, which does not wait as long, can take everything out of it.
pub(crate) struct Answers<T>(Arc<Mutex<Option<Outgoing<T>>>>);

struct Outgoing<T> {
    answers: ReceiverStream<Result<T, Status>>,
    _room: OwnedSemaphorePermit,
}

/// Lets a session run, and answers with what it says. The stream has to be answered before its first message is read: some
/// clients wait for that.
pub(crate) fn serve<T, F>(
    room: OwnedSemaphorePermit,
    session: impl FnOnce(Out<T>) -> F,
) -> Answers<T>
where
    T: Send + 'static,
    F: Future<Output = Result<(), Status>> + Send + 'static,
{
    let (out, answers) = mpsc::channel(OUTGOING_MESSAGES);
    let last = out.clone();
    let serving = session(out);
    let outgoing = Outgoing {
        answers: ReceiverStream::new(answers),
        _room: room,
    };
    let outgoing = Arc::new(Mutex::new(Some(outgoing)));
    let stream = Answers(outgoing.clone());
    let session = async move {
        if let Err(status) = serving.await {
            let told = last.send(Err(status));
            // One that is gone does not want to know, and one that never reads leaves nothing behind.
            if tokio::time::timeout(CLOSE_GRACE, told).await.is_err() {
                *Answers(outgoing).lock() = None;
            }
        }
    };
    tokio::spawn(session.in_current_span());
    stream
}

impl<T> Answers<T> {
    fn lock(&self) -> MutexGuard<'_, Option<Outgoing<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Stream for Answers<T> {
    type Item = Result<T, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut *self.lock() {
            Some(outgoing) => Pin::new(&mut outgoing.answers).poll_next(cx),
            None => Poll::Ready(Some(Err(status_of(&does_not_read())))),
        }
    }
}

/// Sends one message, as soon as the peer has room for it.
pub(crate) async fn send<T>(out: &Out<T>, message: T) -> Result<(), Status> {
    match tokio::time::timeout(SEND_TIMEOUT, out.send(Ok(message))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Status::cancelled("the peer is gone")),
        Err(_) => Err(status_of(&does_not_read())),
    }
}

/// A stream that broke, or bytes that are no message.
pub(crate) fn of_decoder(status: Status) -> Status {
    decoder_refusal(&status).map_or(status, |refusal| status_of(&refusal))
}

pub(crate) fn empty_message() -> Refusal {
    invalid(
        "MESSAGE_MISSING",
        "message",
        "exactly one message has to be set, and one that this version knows",
    )
}

/// A message with a list has something in it, and not too much.
pub(crate) fn batch(field: &str, items: usize) -> Result<(), Refusal> {
    if (1..=BATCH_ITEMS_MAX).contains(&items) {
        Ok(())
    } else {
        Err(invalid(
            "BATCH_INVALID",
            field,
            format!("a message has 1 to {BATCH_ITEMS_MAX} of them, and this one has {items}"),
        ))
    }
}

fn does_not_read() -> Refusal {
    let seconds = SEND_TIMEOUT.as_secs();
    Refusal::unavailable(format!(
        "nothing was read from this stream for {seconds} seconds; open another"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_1_to_128_items() {
        assert!(batch("x", 1).is_ok() && batch("x", 128).is_ok());
        for items in [0, 129] {
            assert_eq!(batch("x", items).unwrap_err().reason, "BATCH_INVALID");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn b41_what_is_not_read_is_waited_for_so_long_and_not_longer() {
        let (out, mut answers) = mpsc::channel(1);
        send(&out, 1).await.unwrap();
        let began = tokio::time::Instant::now();
        let status = send(&out, 2).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unavailable);
        assert_eq!(began.elapsed(), SEND_TIMEOUT);
        assert_eq!(answers.recv().await.unwrap().unwrap(), 1);
        assert!(send(&out, 3).await.is_ok());
    }
}

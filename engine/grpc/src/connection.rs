//! Accepting connections: a bounded number of them, in all and from one peer; an accept loop that survives the want of file
//! descriptors; and a time limit for the first bytes, so that nobody holds a place by saying nothing.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::limits::{ACCEPT_PAUSE, PREFACE_BYTES, PREFACE_TIMEOUT};

/// The connections that a listener takes: `max` at the same time, more wait in the kernel's backlog; and `peer_max` of one
/// peer, more are closed at once.
pub(crate) fn accept(
    listener: TcpListener,
    max: usize,
    peer_max: usize,
) -> impl Stream<Item = io::Result<Connection<TcpStream>>> {
    let room = Arc::new(Semaphore::new(max));
    let peers = Peers::new(peer_max);
    futures_util::stream::unfold((listener, room, peers), |(listener, room, peers)| async {
        let connection = next(&listener, &room, &peers).await?;
        Some((Ok(connection), (listener, room, peers)))
    })
}

async fn next(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    peers: &Peers,
) -> Option<Connection<TcpStream>> {
    let held = Arc::clone(room).acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                let Some(place) = peers.place(address.ip()) else {
                    tracing::debug!(target: "amends_grpc", peer = %address, "a connection beyond its peer's share was closed");
                    continue;
                };
                // Small messages must not wait for each other's acknowledgement; without the option they still arrive.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(target: "amends_grpc", %error, "TCP_NODELAY could not be set");
                }
                return Some(Connection::new(stream, held, place));
            }
            Err(error) => {
                tracing::warn!(target: "amends_grpc", %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// How many connections each peer has.
#[derive(Clone, Debug)]
struct Peers {
    max: usize,
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One connection of a peer.
#[derive(Debug)]
struct Place {
    peers: Peers,
    peer: IpAddr,
}

impl Peers {
    fn new(max: usize) -> Self {
        Self {
            max,
            counts: Arc::default(),
        }
    }

    fn place(&self, address: IpAddr) -> Option<Place> {
        let peer = peer_of(address);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(peer).or_default();
        // A peer at its share is never new here: the share is one at least.
        if *count >= self.max.max(1) {
            return None;
        }
        *count += 1;
        let peers = self.clone();
        Some(Place { peers, peer })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = (self.peers.counts.lock()).unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.peer);
            }
        }
    }
}

/// Whoever has one IPv6 address has the 2^64 of its network.
fn peer_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// A connection that holds its place. Until HTTP/2's preface has arrived, time runs.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    stream: S,
    preface: Option<Preface>,
    _held: OwnedSemaphorePermit,
    _place: Place,
}

/// What is still to come of the preface, and until when.
#[derive(Debug)]
struct Preface {
    missing: usize,
    late: Pin<Box<Sleep>>,
}

impl<S> Connection<S> {
    fn new(stream: S, held: OwnedSemaphorePermit, place: Place) -> Self {
        let preface = Preface {
            missing: PREFACE_BYTES,
            late: Box::pin(tokio::time::sleep(PREFACE_TIMEOUT)),
        };
        Self {
            stream,
            preface: Some(preface),
            _held: held,
            _place: place,
        }
    }
}

impl Connected for Connection<TcpStream> {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut this.stream).poll_read(cx, buffer) {
            if let Some(preface) = &mut this.preface {
                let came = buffer.filled().len() - before;
                preface.missing = preface.missing.saturating_sub(came);
                if preface.missing == 0 {
                    this.preface = None;
                }
            }
            return Poll::Ready(read);
        }
        match &mut this.preface {
            Some(preface) => {
                ready!(preface.late.as_mut().poll(cx));
                let silent = "HTTP/2's preface did not come in time";
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, silent)))
            }
            None => Poll::Pending,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::*;

    fn connection(peers: &Peers) -> (Connection<DuplexStream>, DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(64);
        let held = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let place = peers.place(IpAddr::from([127, 0, 0, 1])).unwrap();
        (Connection::new(ours, held, place), theirs)
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_says_nothing_or_too_little_loses_its_connection() {
        for said in [&b""[..], b"PRI * HTTP/2.0"] {
            let (mut connection, mut peer) = connection(&Peers::new(1));
            peer.write_all(said).await.unwrap();
            let mut read = vec![0; said.len()];
            connection.read_exact(&mut read).await.unwrap();
            let error = connection.read_u8().await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn behind_the_preface_silence_is_not_a_connections_business() {
        let (mut connection, mut peer) = connection(&Peers::new(1));
        peer.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await
            .unwrap();
        connection
            .read_exact(&mut [0; PREFACE_BYTES])
            .await
            .unwrap();
        let silence = tokio::time::timeout(PREFACE_TIMEOUT * 100, connection.read_u8());
        assert!(silence.await.is_err());
    }

    #[test]
    fn a_peer_has_its_share_and_gets_a_place_back_when_a_connection_ends() {
        let peers = Peers::new(2);
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let held = (peers.place(one).unwrap(), peers.place(one).unwrap());
        assert!(peers.place(one).is_none());
        assert!(peers.place(other).is_some());
        drop(held.0);
        assert!(peers.place(one).is_some());
        drop(held.1);
        assert!(peers.counts.lock().unwrap().is_empty());
    }

    #[test]
    fn an_ipv6_network_is_one_peer_and_a_mapped_address_is_what_it_maps() {
        let peer = |text: &str| peer_of(text.parse().unwrap());
        assert_eq!(peer("2001:db8::1"), peer("2001:db8::ffff:1"));
        assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
        assert_eq!(peer("::ffff:10.0.0.1"), peer("10.0.0.1"));
    }
}

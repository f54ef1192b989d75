//! The server's end of connections: how many there may be, and how long one may take to say something.

use crate::guard::Guard;
use futures::Stream;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tonic::transport::server::Connected;

/// How long a new connection may say nothing, and how long it may take to prove itself.
const PATIENCE: Duration = Duration::from_secs(10);
/// Wait before the next try when the machine has no room for a connection.
const AGAIN: Duration = Duration::from_millis(100);
/// Connections that wait for the server to take them.
const READY: usize = 64;

/// Bytes in both directions.
trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

/// A connection that has said something, and proved itself if it had to.
pub struct Connection {
    bytes: Box<dyn Bytes>,
    _room: OwnedSemaphorePermit,
}

/// The connections that come in at `listener`, at most `most` at a time: more are closed. With a guard they are encrypted, and whoever
/// shows no certificate that the guard takes never gets here.
pub fn incoming(
    listener: TcpListener,
    guard: Option<Arc<Guard>>,
    most: usize,
) -> impl Stream<Item = io::Result<Connection>> {
    let (ready, taken) = mpsc::channel(READY);
    tokio::spawn(async move {
        let accepting = accept(&listener, guard.as_deref(), most, &ready);
        tokio::select! {
            () = accepting => {}
            () = ready.closed() => {}
        }
    });
    futures::stream::unfold(taken, async |mut taken| {
        taken.recv().await.map(|connection| (Ok(connection), taken))
    })
}

async fn accept(
    listener: &TcpListener,
    guard: Option<&Guard>,
    most: usize,
    ready: &mpsc::Sender<Connection>,
) {
    let room = Arc::new(Semaphore::new(most));
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("a connection can't be taken: {error}");
                sleep(AGAIN).await;
                continue;
            }
        };
        let Ok(room) = room.clone().try_acquire_owned() else {
            tracing::warn!("a connection from {from} is closed: there are {most} already");
            continue;
        };
        let tls = guard.map(Guard::tls);
        let ready = ready.clone();
        tokio::spawn(async move {
            match timeout(PATIENCE, open(stream, tls)).await {
                Ok(Ok(bytes)) => drop(ready.send(Connection { bytes, _room: room }).await),
                Ok(Err(error)) => tracing::warn!("a connection from {from} is refused: {error}"),
                Err(_) => tracing::debug!("a connection from {from} said nothing for {PATIENCE:?}"),
            }
        });
    }
}

/// Waits for the first byte, so that who says nothing costs no more than a socket, and then shakes hands.
async fn open(stream: TcpStream, tls: Option<TlsAcceptor>) -> io::Result<Box<dyn Bytes>> {
    stream.set_nodelay(true)?;
    stream.readable().await?;
    Ok(match tls {
        None => Box::new(stream),
        Some(tls) => Box::new(tls.accept(stream).await?),
    })
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.bytes).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.bytes).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.bytes).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.bytes).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.bytes).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.bytes.is_write_vectored()
    }
}

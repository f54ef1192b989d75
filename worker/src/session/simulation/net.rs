//! Connections of the simulated network, as tonic takes them.

use access::{Dialer, Line};
use futures::Stream;
use hyper_util::rt::TokioIo;
use std::io;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::codegen::BoxFuture;
use tonic::codegen::http::Uri;
use tonic::transport::{Endpoint, server::Connected};
use turmoil::net::{TcpListener, TcpStream};

/// A connection that a server has accepted.
pub(super) struct Accepted(TcpStream);

/// How a worker of the simulation connects.
pub(super) fn dial(endpoint: Endpoint) -> BoxFuture<Line, tonic::transport::Error> {
    let connect = tower::service_fn(|to: Uri| async move {
        let place = to.authority().map(ToString::to_string).unwrap_or_default();
        Ok::<_, io::Error>(TokioIo::new(TcpStream::connect(place).await?))
    });
    Box::pin(async move { Ok(Dialer::default().line(endpoint.connect_with_connector(connect).await?)) })
}

/// The connections to a port of this host.
pub(super) async fn accept(port: u16) -> io::Result<impl Stream<Item = io::Result<Accepted>>> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?;
    Ok(futures::stream::unfold(listener, |listener| async move {
        let accepted = listener.accept().await.map(|(stream, _)| Accepted(stream));
        Some((accepted, listener))
    }))
}

impl Connected for Accepted {
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

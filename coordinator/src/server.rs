//! The coordinator's server: it takes its listener and its stop signal as arguments, so that the caller decides on which
//! port it listens and for how long.

use crate::{
    control::Control,
    error::{Error, Result},
    page::{self, Beside},
    service,
};
use access::{Guard, connection};
use futures::Stream;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, lookup_host},
    time::{Instant, MissedTickBehavior, interval},
};
use tonic::transport::{Server, server::Connected};

/// How often a quiet connection is asked whether the other side is there.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// Workers that may connect at the same time; the kernel may allow fewer.
const BACKLOG: u32 = 16_384;
/// Connections at a time, whatever the machine allows.
const MOST_CONNECTIONS: u64 = 65_536;
/// Requests of one connection at a time.
const STREAMS: u32 = 256;
/// How often silence and patience are measured.
const TICK: Duration = Duration::from_millis(50);
/// A gap between two measurements that only a process which stood still can have.
const ASLEEP: Duration = Duration::from_millis(500);

/// Files that are no connections of workers: logs, metrics, the journal, the dataset's index.
const OTHER_FILES: u64 = 256;

/// Binds `cluster.listen`.
///
/// # Errors
/// [`Error::Unprotected`] for an address that other machines reach and no guard is on, [`Error::Listen`] for one that is taken.
pub async fn listen(address: &str, guarded: bool) -> Result<TcpListener> {
    allow_connections();
    let failed = |source| Error::Listen { address: address.into(), source };
    let resolved: Vec<SocketAddr> = lookup_host(address).await.map_err(failed)?.collect();
    if let Some(open) = resolved.iter().find(|resolved| !guarded && !is_local(resolved.ip())) {
        return Err(Error::Unprotected { address: format!("{address} ({})", open.ip()) });
    }
    let mut refused = std::io::Error::other("the name has no address");
    for address in resolved {
        match bind(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => refused = error,
        }
    }
    Err(failed(refused))
}

/// Every worker is a file descriptor: as many as this process may have.
fn allow_connections() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!("the limit of open files stays at {:?}: {error}", limit.current);
    }
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // The next coordinator of a run may have the port at once.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn is_local(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// Serves `control`, with what is `beside` it on its page, on `listener` until `stop` completes, and then lets the requests in flight finish.
///
/// # Errors
/// [`Error::Server`] when the transport breaks off.
pub async fn serve(
    listener: TcpListener,
    control: Arc<Control>,
    beside: Option<Beside>,
    guard: Option<Arc<Guard>>,
    stop: impl Future<Output = ()>,
) -> Result<()> {
    let incoming = connection::incoming(listener, guard.clone(), room());
    let kept = async {
        match &guard {
            Some(guard) => guard.keep().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        served = serve_on(incoming, control, beside, guard.clone(), stop) => served,
        () = kept => Ok(()),
    }
}

/// Connections that the limit of open files leaves room for.
fn room() -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let room = files.saturating_sub(OTHER_FILES).max(files / 2).min(MOST_CONNECTIONS);
    room.try_into().unwrap_or(usize::MAX)
}

/// Serves on whatever brings connections, such as a simulated network.
///
/// # Errors
/// As [`serve`].
pub async fn serve_on<T: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static>(
    incoming: impl Stream<Item = std::io::Result<T>>,
    control: Arc<Control>,
    beside: Option<Beside>,
    guard: Option<Arc<Guard>>,
    stop: impl Future<Output = ()>,
) -> Result<()> {
    let broken = |e: &dyn std::fmt::Display| Error::Server(e.to_string());
    let routes = service::routes(control.clone(), page::router(control.clone(), beside), guard)
        .await
        .map_err(|e| broken(&e))?;
    let server = Server::builder()
        .accept_http1(true)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .max_concurrent_streams(STREAMS)
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, stop);
    tokio::select! {
        ended = server => ended.map_err(|e| broken(&e)),
        () = tick(&control) => Ok(()),
    }
}

/// Tells the membership that time passes, and when it did so without this process: one that was stopped, or whose machine was, would
/// else take all workers for lost. Never returns.
async fn tick(control: &Control) {
    let mut beats = interval(TICK);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Instant::now();
    loop {
        beats.tick().await;
        let gap = last.elapsed().saturating_sub(TICK);
        last = Instant::now();
        control.decide(|membership, now| {
            if gap > ASLEEP {
                tracing::warn!("this coordinator stood still for {:.1} s", gap.as_secs_f64());
                membership.slept(gap);
            }
            membership.tick(now);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::Exit;

    #[tokio::test]
    async fn an_address_that_others_reach_is_refused() {
        for open in ["0.0.0.0:0", "[::]:0", "[::ffff:10.0.0.1]:0"] {
            let error = listen(open, false).await.unwrap_err();
            assert!(matches!(error, Error::Unprotected { .. }), "{error}");
            assert_eq!(error.exit(), Exit::Usage);
        }
        assert!(listen("0.0.0.0:0", true).await.is_ok());
        assert!(listen("127.0.0.1:0", false).await.unwrap().local_addr().unwrap().port() > 0);
    }

    #[tokio::test]
    async fn as_many_workers_may_connect_as_the_machine_allows() {
        listen("127.0.0.1:0", false).await.unwrap();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_named() {
        let first = listen("127.0.0.1:0", false).await.unwrap();
        let address = first.local_addr().unwrap().to_string();
        let error = listen(&address, false).await.unwrap_err();
        assert_eq!(error.exit(), Exit::Unavailable);
        assert!(error.to_string().contains(&address), "{error}");
    }
}

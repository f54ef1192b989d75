//! A proxy before a server that does to its answers what networks and busy stores do, and counts.

use super::http::{self, Listening, Message};
use std::{
    io::{self, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// What happens to an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The server is not asked; this status comes instead.
    Status(u16),
    /// The connection ends without an answer.
    Refused,
    /// The connection ends after so many bytes of the body, fewer than its head announces.
    Cut(usize),
    /// A body of so many bytes, whose head says that this is all of it.
    Short(usize),
    /// After so many bytes of the body nothing more comes, until the client gives up.
    Stalled(usize),
    /// Only the head, and only after this time.
    Slow(Duration),
    /// The answer comes, with another etag.
    Etag(&'static str),
    /// The request arrives and is carried out, and its answer is lost.
    Lost,
}

/// The fault of the request with this number, from 0, among all that the plan is asked of.
type Plan = dyn Fn(usize, &Message) -> Fault + Send + Sync;

/// What passed.
#[derive(Default)]
struct Seen {
    requests: Mutex<Vec<Message>>,
    open: AtomicUsize,
    most: AtomicUsize,
}

/// A proxy that is running.
pub struct Proxy {
    listening: Listening,
    plan: Arc<Mutex<Arc<Plan>>>,
    seen: Arc<Seen>,
}

impl Proxy {
    /// Before the server at `upstream`, without faults.
    ///
    /// # Errors
    /// When no port is free.
    pub fn start(upstream: SocketAddr) -> io::Result<Self> {
        let none: Arc<Plan> = Arc::new(|_, _| Fault::None);
        let plan = Arc::new(Mutex::new(none));
        let seen = Arc::new(Seen::default());
        let (planned, counted) = (plan.clone(), seen.clone());
        let listening = Listening::start(move |client| pass(client, upstream, &planned, &counted))?;
        Ok(Self { listening, plan, seen })
    }

    /// Its URL, without a slash at the end.
    pub fn url(&self) -> String {
        self.listening.url()
    }

    /// From here on, requests meet the faults of `plan`, and are counted anew.
    pub fn plan(&self, plan: impl Fn(usize, &Message) -> Fault + Send + Sync + 'static) {
        *lock(&self.plan) = Arc::new(plan);
        lock(&self.seen.requests).clear();
        self.seen.most.store(0, Ordering::SeqCst);
    }

    /// The requests since the last plan, without their bodies.
    pub fn requests(&self) -> Vec<Message> {
        lock(&self.seen.requests).clone()
    }

    /// The most requests that were open at the same time since the last plan.
    pub fn most(&self) -> usize {
        self.seen.most.load(Ordering::SeqCst)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves one connection of a client; each request gets a connection of its own to the server.
fn pass(client: TcpStream, upstream: SocketAddr, plan: &Mutex<Arc<Plan>>, seen: &Seen) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut from = BufReader::new(client.try_clone()?);
    let mut to = client;
    while let Some(request) = http::read(&mut from, false)? {
        let now = seen.open.fetch_add(1, Ordering::SeqCst) + 1;
        seen.most.fetch_max(now, Ordering::SeqCst);
        let number = {
            let mut requests = lock(&seen.requests);
            requests.push(Message { body: Vec::new(), ..request.clone() });
            requests.len() - 1
        };
        let plan = lock(plan).clone();
        let answered = answer(&mut to, upstream, &request, plan(number, &request));
        seen.open.fetch_sub(1, Ordering::SeqCst);
        if !answered? {
            return to.shutdown(Shutdown::Both);
        }
    }
    Ok(())
}

/// Answers one request; says whether the connection goes on.
fn answer(to: &mut TcpStream, upstream: SocketAddr, request: &Message, fault: Fault) -> io::Result<bool> {
    match fault {
        Fault::Status(status) => {
            let body = b"injected".to_vec();
            http::write(to, &Message::answer(&format!("{status} Injected"), &[], body))?;
            return Ok(true);
        }
        Fault::Refused => return Ok(false),
        _ => {}
    }
    let mut answer = forward(upstream, request)?;
    let length = answer.body.len();
    match fault {
        Fault::Lost => return Ok(false),
        Fault::Cut(bytes) => {
            to.write_all(&answer.head())?;
            to.write_all(&answer.body[..bytes.min(length)])?;
            return Ok(false);
        }
        Fault::Stalled(bytes) => {
            to.write_all(&answer.head())?;
            to.write_all(&answer.body[..bytes.min(length)])?;
            // Ends when the client closes.
            let _ = to.read(&mut [0]);
            return Ok(false);
        }
        Fault::Short(bytes) => {
            answer.body.truncate(bytes);
            answer.set("Content-Length", answer.body.len().to_string());
        }
        Fault::Slow(time) => thread::sleep(time),
        Fault::Etag(etag) => answer.set("ETag", etag.into()),
        Fault::None | Fault::Status(_) | Fault::Refused => {}
    }
    http::write(to, &answer)?;
    Ok(true)
}

fn forward(upstream: SocketAddr, request: &Message) -> io::Result<Message> {
    let mut server = TcpStream::connect(upstream)?;
    server.set_nodelay(true)?;
    let mut request = request.clone();
    request.set("Connection", "close".into());
    // A client that waits to be asked for its body has sent it by now.
    request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("Expect"));
    http::write(&mut server, &request)?;
    let answer = http::read(&mut BufReader::new(server), request.method() == "HEAD")?;
    let mut answer = answer.ok_or(io::ErrorKind::UnexpectedEof)?;
    answer.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("Connection"));
    Ok(answer)
}

//! As much of HTTP/1.1 as the servers of the tests need, over blocking sockets.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

/// A request or an answer.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// The first line, without its end.
    pub first: String,
    /// Names as they came, and values.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Message {
    /// An answer with a body; its length is added.
    pub fn answer(status: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let length = ("Content-Length".to_owned(), body.len().to_string());
        Self { first: format!("HTTP/1.1 {status}"), headers: headers.chain([length]).collect(), body }
    }

    /// The method of a request.
    pub fn method(&self) -> &str {
        self.first.split(' ').next().unwrap_or_default()
    }

    /// The path and query of a request.
    pub fn target(&self) -> &str {
        self.first.split(' ').nth(1).unwrap_or_default()
    }

    /// A header's value, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Sets a header in place of those of that name.
    pub fn set(&mut self, name: &str, value: String) {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.into(), value));
    }

    /// First line and headers, as they are sent.
    pub fn head(&self) -> Vec<u8> {
        let headers = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
        format!("{}\r\n{}\r\n", self.first, headers.collect::<String>()).into_bytes()
    }
}

/// Reads a message; none at the end of the stream. An answer to HEAD has no body.
///
/// # Errors
/// Of the stream, and what is no message.
pub fn read(from: &mut BufReader<TcpStream>, bodiless: bool) -> io::Result<Option<Message>> {
    let mut message = Message::default();
    let mut line = String::new();
    loop {
        line.clear();
        if from.read_line(&mut line)? == 0 {
            return if message.first.is_empty() {
                Ok(None)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
        let text = line.trim_end();
        match text.split_once(':') {
            _ if message.first.is_empty() => message.first = text.into(),
            None => break,
            Some((name, value)) => message.headers.push((name.into(), value.trim().into())),
        }
    }
    let chunked = message.header("Transfer-Encoding").is_some_and(|kind| kind.contains("chunked"));
    let length = message.header("Content-Length").and_then(|length| length.parse().ok());
    if bodiless {
        return Ok(Some(message));
    }
    if chunked {
        message.body = chunks(from)?;
        message.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("Transfer-Encoding"));
        message.set("Content-Length", message.body.len().to_string());
    } else {
        from.take(length.unwrap_or(0)).read_to_end(&mut message.body)?;
    }
    Ok(Some(message))
}

fn chunks(from: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        let length = u64::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        from.take(length).read_to_end(&mut body)?;
        from.read_line(&mut line)?;
        if length == 0 {
            return Ok(body);
        }
    }
}

/// A listener on a free port of this machine, with a thread for each connection. Ends with its owner.
pub struct Listening {
    /// Where.
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Listening {
    /// Hands each connection to `serve`.
    ///
    /// # Errors
    /// When no port is free.
    pub fn start(serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, serve) = (stop.clone(), Arc::new(serve));
        let accepting = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let serve = serve.clone();
                // A client that goes away in the middle is what these servers are for.
                thread::spawn(move || drop(serve(stream)));
            }
        });
        Ok(Self { address, stop, accepting: Some(accepting) })
    }

    /// Its URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for a connection.
        if TcpStream::connect(self.address).is_ok()
            && let Some(accepting) = self.accepting.take()
        {
            let _ = accepting.join();
        }
    }
}

/// Sends head and body.
///
/// # Errors
/// Of the stream.
pub fn write(to: &mut TcpStream, message: &Message) -> io::Result<()> {
    to.write_all(&message.head())?;
    to.write_all(&message.body)
}

//! A real S3 server: moto, in a Python process of its own.

use super::http::{self, Message};
use std::{
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    thread,
};

/// The Python that has moto, set by `scripts/stores.sh`.
pub const PYTHON: &str = "TANDEM_STORES_PYTHON";

/// A server that is running, with one bucket. Ends with its owner.
pub struct Moto {
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
}

impl Moto {
    /// Starts it and makes the bucket `bucket`.
    ///
    /// # Errors
    /// When Python or moto is not there, or it does not listen.
    pub fn start(bucket: &str) -> io::Result<Self> {
        let python = std::env::var(PYTHON).unwrap_or_else(|_| "python3".into());
        let program = "from moto.server import main; main()";
        let mut command = Command::new(python);
        command.args(["-u", "-c", program, "--host", "127.0.0.1", "--port", "0"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let Some(told) = child.stderr.take() else { return Err(io::ErrorKind::BrokenPipe.into()) };
        let mut lines = BufReader::new(told).lines();
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, address) = line.split_once("Running on http://")?;
            address.trim().parse().ok()
        });
        // It goes on logging, into a pipe that has to be emptied.
        thread::spawn(move || lines.for_each(drop));
        let Some(address) = address else {
            let _ = child.kill();
            return Err(io::Error::other("moto does not say where it listens; call scripts/stores.sh"));
        };
        let server = Self { address, child };
        let made = server.ask("PUT", &format!("/{bucket}"))?;
        if made.first.contains(" 200 ") { Ok(server) } else { Err(io::Error::other(made.first)) }
    }

    /// Asks without a signature.
    fn ask(&self, method: &str, target: &str) -> io::Result<Message> {
        let mut stream = TcpStream::connect(self.address)?;
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            self.address
        );
        stream.write_all(head.as_bytes())?;
        http::read(&mut BufReader::new(stream), false)?.ok_or(io::ErrorKind::UnexpectedEof.into())
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! Passes bytes on between two TCP addresses, as a tunnel does.

use std::{
    io,
    net::{Shutdown, TcpListener, TcpStream},
    thread,
    time::Duration,
};

/// How long a connection onward may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Listens at `from`, and joins each connection with one of its own to `to`, for ever.
///
/// # Errors
/// The address can't be listened on.
pub fn relay(from: &str, to: &str) -> io::Result<()> {
    let to = to.parse().map_err(io::Error::other)?;
    for near in TcpListener::bind(from)?.incoming() {
        let near = near?;
        thread::spawn(move || {
            // A connection that can't go on ends, and whoever made it sees that.
            let far = TcpStream::connect_timeout(&to, PATIENCE)?;
            near.set_nodelay(true)?;
            far.set_nodelay(true)?;
            let (near_too, far_too) = (near.try_clone()?, far.try_clone()?);
            thread::spawn(move || pass(&far_too, &near_too));
            pass(&near, &far);
            io::Result::Ok(())
        });
    }
    Ok(())
}

/// Passes on what comes, and then its end.
fn pass(mut from: &TcpStream, mut to: &TcpStream) {
    let whole = io::copy(&mut from, &mut to).is_ok();
    let _ = to.shutdown(if whole { Shutdown::Write } else { Shutdown::Both });
    if !whole {
        let _ = from.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn bytes_and_ends_pass_in_both_directions() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let (from, to) = (free.clone(), server.local_addr().unwrap().to_string());
        thread::spawn(move || relay(&from, &to));
        let mut client = loop {
            if let Ok(client) = TcpStream::connect(&free) {
                break client;
            }
            thread::yield_now();
        };
        client.write_all(b"there").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let (mut accepted, mut heard) = (server.accept().unwrap().0, String::new());
        accepted.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "there");
        accepted.write_all(b"and back").unwrap();
        drop(accepted);
        heard.clear();
        client.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "and back");
        drop(server);
        let mut refused = TcpStream::connect(&free).unwrap();
        assert_eq!(refused.read(&mut [0]).unwrap_or(0), 0, "a connection that leads nowhere ends");
    }
}

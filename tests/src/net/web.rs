//! A plain web server: HEAD, GET, ranges and etags, each of which can be missing. It does not list.

use super::http::{self, Listening, Message};
use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    net::TcpStream,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::UNIX_EPOCH,
};

/// What a web server can do.
#[derive(Clone, Copy, Debug)]
pub struct Skills {
    /// Answers ranges with 206, else the whole file with 200.
    pub ranges: bool,
    /// Sends etags and heeds If-Match.
    pub etags: bool,
    /// Answers HEAD, else 403 as for a URL that is signed for GET.
    pub head: bool,
    /// Shows folders as pages, as servers with an index do, else 404.
    pub pages: bool,
}

impl Default for Skills {
    fn default() -> Self {
        Self { ranges: true, etags: true, head: true, pages: true }
    }
}

/// Serves the files below `folder`.
///
/// # Errors
/// When no port is free.
pub fn serve(folder: &Path, skills: Skills) -> io::Result<Listening> {
    let folder: Arc<Path> = PathBuf::from(folder).into();
    Listening::start(move |stream| {
        let mut from = BufReader::new(stream.try_clone()?);
        let mut to: TcpStream = stream;
        to.set_nodelay(true)?;
        while let Some(request) = http::read(&mut from, false)? {
            let mut answer = answer(&folder, skills, &request)?;
            if request.method() == "HEAD" {
                answer.body.clear();
            }
            http::write(&mut to, &answer)?;
        }
        Ok(())
    })
}

fn answer(folder: &Path, skills: Skills, request: &Message) -> io::Result<Message> {
    let refused = |status: &str| Ok(Message::answer(status, &[], Vec::new()));
    match request.method() {
        "GET" => {}
        "HEAD" if skills.head => {}
        "HEAD" => return refused("403 Forbidden"),
        _ => return refused("405 Method Not Allowed"),
    }
    let target = request.target().split('?').next().unwrap_or_default();
    if target.contains("..") {
        return refused("404 Not Found");
    }
    let path = folder.join(target.trim_matches('/'));
    if path.is_dir() && skills.pages {
        return Ok(Message::answer("200 OK", &[("Content-Type", "text/html")], b"<html></html>".to_vec()));
    }
    let Ok(mut file) = File::open(&path) else { return refused("404 Not Found") };
    let about = file.metadata()?;
    if !about.is_file() {
        return refused("404 Not Found");
    }
    let changed = about.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let etag = format!("\"{changed:x}-{:x}\"", about.len());
    if skills.etags && request.header("If-Match").is_some_and(|wanted| wanted != etag) {
        return refused("412 Precondition Failed");
    }
    let size = about.len();
    let range = request.header("Range").filter(|_| skills.ranges).map(|text| range(text, size));
    let (status, part) = match range {
        None => ("200 OK", 0..size),
        Some(Some(part)) => ("206 Partial Content", part),
        Some(None) => return refused("416 Range Not Satisfiable"),
    };
    file.seek(SeekFrom::Start(part.start))?;
    let mut body = Vec::new();
    file.take(part.end - part.start).read_to_end(&mut body)?;
    let mut answer = Message::answer(status, &[("Content-Type", "application/octet-stream")], body);
    if status.starts_with("206") {
        answer.set("Content-Range", format!("bytes {}-{}/{size}", part.start, part.end - 1));
    }
    if skills.etags {
        answer.set("ETag", etag);
    }
    Ok(answer)
}

/// The bytes that a Range header asks for.
fn range(text: &str, size: u64) -> Option<Range<u64>> {
    let (from, to) = text.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (from.parse::<u64>().ok(), to.parse::<u64>().ok()) {
        (Some(from), Some(to)) => from..(to + 1).min(size),
        (Some(from), None) => from..size,
        (None, Some(last)) => size.saturating_sub(last)..size,
        (None, None) => return None,
    };
    (range.start < range.end).then_some(range)
}

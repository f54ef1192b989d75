//! Who gets in: real coordinators behind certificates and tokens, and what happens to everybody else.
#![cfg(test)]

use access::{Credentials, Dialer, Line, Role, role};
use bytes::{Buf, BufMut};
use e2e::run::{Place, Running, tandem};
use e2e::worker::Worker;
use prost::Message;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};

/// A run of a few steps that waits for a worker, behind credentials.
fn guarded(place: &Place, steps: u32) -> (Running, String) {
    let certs = place.path("certs");
    let made = tandem(&["certs", "init", &certs, "--host", "coordinator.test"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let credentials = format!("{certs}/coordinator");
    place.serve_more(
        "out",
        &[&format!("optimizer.steps={steps}"), "run.workers=1"],
        &["--credentials", &credentials],
    )
}

fn as_role(place: &Place, role: &str) -> String {
    place.path(&format!("certs/{role}"))
}

/// A connection with a folder's certificate and token.
async fn line(url: &str, folder: &str) -> Result<Line, String> {
    let dialer = Dialer::new(Some(Credentials::new(folder))).map_err(|error| error.to_string())?;
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| error.to_string())?;
    let channel = dialer.dial(endpoint).await.map_err(|error| format!("{error:?}"))?;
    Ok(dialer.line(channel))
}

/// Messages as they are.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining()).into()))
    }
}

/// What a call answers, whatever kind of call it is.
async fn call(line: &Line, path: &str, message: Vec<u8>) -> Code {
    let mut grpc = tonic::client::Grpc::new(line.clone());
    grpc.ready().await.unwrap();
    let mut request = Request::new(message);
    request.set_timeout(Duration::from_secs(20));
    let answer = grpc.server_streaming(request, path.parse().unwrap(), Raw).await;
    match answer {
        Err(status) => status.code(),
        Ok(stream) => stream.into_inner().message().await.err().map_or(Code::Ok, |status| status.code()),
    }
}

/// Every method of the contract, as a path.
fn methods() -> Vec<String> {
    let files = prost_types::FileDescriptorSet::decode(proto::v1::DESCRIPTORS).unwrap();
    let services = files.file.iter().flat_map(|file| file.service.iter());
    services
        .flat_map(|service| {
            let path = |method: &prost_types::MethodDescriptorProto| {
                format!("/tandem.v1.{}/{}", service.name(), method.name())
            };
            service.method.iter().map(path).collect::<Vec<_>>()
        })
        .collect()
}

#[tokio::test]
async fn every_verb_asks_for_its_role() {
    let place = Place::new();
    let (_run, url) = guarded(&place, 5);
    for role in role::ROLES {
        let line = line(&url, &as_role(&place, &role.to_string())).await.unwrap();
        for method in methods() {
            let code = call(&line, &method, Vec::new()).await;
            let refused = matches!(code, Code::PermissionDenied | Code::Unauthenticated);
            assert_eq!(refused, !role.may(role::need(&method)), "{role} calls {method}: {code:?}");
        }
    }
    for token in ["", "Bearer", "wrong"] {
        let folder = as_role(&place, &format!("forged-{token}"));
        copy(&as_role(&place, "operator"), &folder);
        fs::write(format!("{folder}/token"), if token.is_empty() { "x" } else { token }).unwrap();
        let line = line(&url, &folder).await.unwrap();
        for method in methods().into_iter().chain(["/grpc.health.v1.Health/Check".into(), "/none".into()]) {
            assert_eq!(call(&line, &method, Vec::new()).await, Code::Unauthenticated, "{token:?}: {method}");
        }
    }
}

fn copy(from: &str, to: &str) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let path = file.unwrap().path();
        fs::copy(&path, Path::new(to).join(path.file_name().unwrap())).unwrap();
    }
}

#[test]
fn a_guarded_run_trains_and_is_steered_by_who_may() {
    let place = Place::new();
    let (run, url) = guarded(&place, 5);
    let ask = |role: &str, verb: &[&str]| {
        tandem(&[verb, &["--coordinator", &url, "--credentials", &as_role(&place, role)]].concat())
    };
    assert_eq!(ask("viewer", &["status"]).code, Some(0));
    let told = ask("viewer", &["pause"]);
    assert!(
        told.code == Some(2) && told.err.contains("viewer is viewer, and this is for operators"),
        "{told:?}"
    );
    let told = tandem(&["status", "--coordinator", &url]);
    assert!(told.code == Some(69) && told.err.contains("--credentials"), "{told:?}");
    let told = ask("operator", &["scale", "--max", "3", "--no-wait"]);
    assert_eq!(told.code, Some(0), "{told:?}");
    let told = ask("viewer", &["events"]);
    assert!(told.out.contains("operator, as "), "{told:?}");

    let refused =
        Worker::start(&url, &place.path("viewer.log"), &["--credentials", &as_role(&place, "viewer")]);
    assert_eq!(refused.end(), Some(2));
    let worker =
        Worker::start(&url, &place.path("worker.log"), &["--credentials", &as_role(&place, "worker")]);
    assert_eq!(worker.end(), Some(0));
    assert_eq!(run.end().code, Some(0));
}

#[tokio::test]
async fn certificates_of_others_and_plain_text_get_nowhere() {
    let place = Place::new();
    let (_run, url) = guarded(&place, 5);
    let other = place.path("other");
    assert_eq!(tandem(&["certs", "init", &other]).code, Some(0));
    // Of another CA, which this side trusts none the less.
    copy(&format!("{other}/operator"), &place.path("stranger"));
    fs::copy(place.path("certs/ca.crt"), place.path("stranger/ca.crt")).unwrap();
    let refused = match line(&url, &place.path("stranger")).await {
        Err(_) => true,
        Ok(line) => reaches(&line).await.is_err(),
    };
    assert!(refused, "a stranger's certificate got in");
    let error = line(&url, &format!("{other}/operator")).await.err().unwrap();
    assert!(error.contains("InvalidCertificate"), "{error}");

    let plain = line_without(&url.replace("https", "http")).await;
    assert!(plain.is_err() || reaches(&plain.unwrap()).await.is_err(), "plain text got in");
    let mut socket = TcpStream::connect(url.trim_start_matches("https://")).unwrap();
    socket.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));
    assert!(reaches(&line(&url, &as_role(&place, "viewer")).await.unwrap()).await.is_ok());
}

async fn line_without(url: &str) -> Result<Line, tonic::transport::Error> {
    let dialer = Dialer::default();
    Ok(dialer.line(dialer.dial(Endpoint::from_shared(url.to_owned())?).await?))
}

async fn reaches(line: &Line) -> Result<(), Code> {
    match call(line, "/tandem.v1.Operator/Status", Vec::new()).await {
        Code::Ok => Ok(()),
        code => Err(code),
    }
}

#[tokio::test]
async fn messages_that_are_too_long_or_no_messages_are_refused() {
    let place = Place::new();
    let (_run, url) = guarded(&place, 5);
    let worker = line(&url, &as_role(&place, "worker")).await.unwrap();
    let operator = line(&url, &as_role(&place, "operator")).await.unwrap();
    for method in methods() {
        let line = if Role::Worker.may(role::need(&method)) { &worker } else { &operator };
        let long = call(line, &method, vec![0; 9 << 20]).await;
        assert!(matches!(long, Code::OutOfRange | Code::ResourceExhausted), "{method}: {long:?}");
        let broken = call(line, &method, vec![0xff; 1000]).await;
        assert!(matches!(broken, Code::Internal | Code::InvalidArgument), "{method}: {broken:?}");
    }
    assert!(reaches(&operator).await.is_ok());
}

#[tokio::test]
async fn replaced_credentials_count_without_a_restart() {
    let place = Place::new();
    let (mut run, url) = guarded(&place, 5);
    let (old, new) = (as_role(&place, "viewer"), place.path("second"));
    let held = line(&url, &old).await.unwrap();
    assert!(reaches(&held).await.is_ok());
    assert_eq!(tandem(&["certs", "init", &new]).code, Some(0));
    copy(&format!("{new}/coordinator"), &as_role(&place, "coordinator"));
    let new_viewer = format!("{new}/viewer");
    run.until("the new credentials", || {
        tandem(&["status", "--coordinator", &url, "--credentials", &new_viewer]).code == Some(0)
    });
    assert_eq!(reaches(&held).await, Err(Code::Unauthenticated), "an old token on an open connection");
    assert!(line(&url, &old).await.is_err(), "an old certificate");
}

/// Connections that were closed by the other side within the test's patience.
fn closed(sockets: &mut [TcpStream]) -> usize {
    let end = |socket: &mut TcpStream| {
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        matches!(socket.read(&mut [0; 64]), Ok(0))
            || socket.read(&mut [0; 1]).is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset)
    };
    sockets.iter_mut().filter_map(|socket| end(socket).then_some(())).count()
}

fn resident_mib(pid: u64) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[test]
fn ten_thousand_who_say_nothing_and_a_hundred_who_say_it_slowly_keep_nobody_out() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let most = rustix::process::Rlimit { current: limit.maximum, ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, most).unwrap();
    let many = limit.maximum.unwrap_or(u64::MAX).saturating_sub(500).min(10_000);
    let place = Place::new();
    let (run, url) = guarded(&place, 5);
    let address = url.trim_start_matches("https://").to_owned();
    let before = resident_mib(run.pid());
    let mut sockets: Vec<TcpStream> = (0..many).map(|_| TcpStream::connect(&*address).unwrap()).collect();
    // The beginning of a handshake that does not go on.
    for socket in sockets.iter_mut().take(100) {
        socket.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).unwrap();
    }
    let told = tandem(&["status", "--coordinator", &url, "--credentials", &as_role(&place, "viewer")]);
    assert_eq!(told.code, Some(0), "{told:?}");
    let grown = resident_mib(run.pid()) - before;
    assert!(grown < 100, "{many} connections cost {grown} MiB");
    assert_eq!(closed(&mut sockets), sockets.len(), "who says nothing is let go");
}

//! A CA of its own for a trial or a small cluster, and folders of credentials that it certifies.

use crate::credentials::{CA, CERTIFICATE, KEY, TOKEN, TOKENS};
use crate::error::AccessError;
use crate::role::Role;
use crate::token::hash;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use time::{Duration, OffsetDateTime};

/// The folder of the coordinator's credentials.
pub const COORDINATOR: &str = "coordinator";
/// Clocks may differ by this much.
const SKEW: Duration = Duration::hours(1);
/// Bytes of a token.
const TOKEN_BYTES: usize = 32;

/// Makes `folder` with a CA (`ca.crt`, `ca.key`) and four folders of credentials: `coordinator`, certified for `hosts`, and one for each
/// role. They are good for `days` days.
///
/// # Errors
/// A folder that is there already or can't be written.
pub fn init(folder: &Path, hosts: &[String], days: u32) -> Result<(), AccessError> {
    if folder.exists() {
        return Err(AccessError::Exists { path: folder.into() });
    }
    let days = i64::from(days);
    let named = |name: &'static str| move |source| AccessError::Issue { name: name.into(), source };
    let ca = authority(days).map_err(named("the CA"))?;
    make(folder)?;
    write(&folder.join("ca.key"), ca.key().serialize_pem().as_bytes())?;
    write(&folder.join(CA), ca.pem().as_bytes())?;

    let mut tokens = String::from("# ROLE NAME SHA256-OF-THE-TOKEN\n");
    for role in crate::role::ROLES {
        tokens += &add(&folder.join(role.to_string()), &ca, role, &role.to_string(), days)?;
    }
    let own = folder.join(COORDINATOR);
    // The workers that `tandem run` starts use the coordinator's folder.
    tokens += &add(&own, &ca, Role::Worker, COORDINATOR, days)?;
    let (certificate, key) = certify(&ca, COORDINATOR, hosts, days).map_err(named(COORDINATOR))?;
    write(&own.join(CERTIFICATE), certificate.as_bytes())?;
    write(&own.join(KEY), key.as_bytes())?;
    write(&own.join(TOKENS), tokens.as_bytes())
}

/// Makes a folder for one client, and returns its line in `tokens`.
fn add(
    folder: &Path,
    ca: &CertifiedIssuer<'_, KeyPair>,
    role: Role,
    name: &str,
    days: i64,
) -> Result<String, AccessError> {
    let failed = |source| AccessError::Issue { name: name.into(), source };
    let (certificate, key) = certify(ca, name, &[], days).map_err(failed)?;
    let token = token().map_err(|source| AccessError::Write { path: folder.join(TOKEN), source })?;
    make(folder)?;
    write(&folder.join(CA), ca.pem().as_bytes())?;
    write(&folder.join(CERTIFICATE), certificate.as_bytes())?;
    write(&folder.join(KEY), key.as_bytes())?;
    write(&folder.join(TOKEN), format!("{token}\n").as_bytes())?;
    Ok(format!("{role} {name} {}\n", hex(&hash(token.as_bytes()))))
}

fn authority(days: i64) -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = valid(CertificateParams::new(Vec::new())?, "Tandem CA", days);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

fn certify(
    ca: &CertifiedIssuer<'_, KeyPair>,
    name: &str,
    hosts: &[String],
    days: i64,
) -> Result<(String, String), rcgen::Error> {
    let mut params = valid(CertificateParams::new(hosts.to_vec())?, name, days);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    if !hosts.is_empty() {
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    }
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, ca)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn valid(mut params: CertificateParams, name: &str, days: i64) -> CertificateParams {
    params.distinguished_name.push(DnType::CommonName, name);
    let now = OffsetDateTime::now_utc();
    params.not_after = now + Duration::days(days);
    params.not_before = params.not_after.min(now) - SKEW;
    params
}

fn token() -> io::Result<String> {
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(hex(&bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn make(folder: &Path) -> Result<(), AccessError> {
    fs::create_dir_all(folder).map_err(|source| AccessError::Write { path: folder.into(), source })
}

/// Writes a file that only its owner reads.
fn write(path: &Path, bytes: &[u8]) -> Result<(), AccessError> {
    let open = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(bytes)
    };
    open().map_err(|source| AccessError::Write { path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Credentials, Dialer, Guard, connection};
    use futures::StreamExt;
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tonic::transport::Endpoint;

    /// A server that waits for one connection and says whether it got one.
    async fn one(folder: &Path) -> (u16, tokio::task::JoinHandle<bool>) {
        let guard = Arc::new(Guard::open(Credentials::new(folder.join(COORDINATOR))).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let incoming = connection::incoming(listener, Some(guard), 10);
        let waiting = tokio::spawn(async move { Box::pin(incoming).next().await.is_some() });
        (port, waiting)
    }

    #[tokio::test]
    async fn a_certificate_that_has_expired_gets_nobody_in() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("certs");
        init(&folder, &["localhost".into()], 1).unwrap();
        let again = init(&folder, &[], 1).unwrap_err();
        assert!(matches!(again, AccessError::Exists { .. }), "{again}");

        // A client whose certificate was good until yesterday.
        let ca = authority(1).unwrap();
        let (certificate, key) = certify(&ca, "late", &[], -1).unwrap();
        let late = folder.join("late");
        make(&late).unwrap();
        fs::copy(folder.join(CA), late.join(CA)).unwrap();
        for (name, text) in [(CERTIFICATE, certificate), (KEY, key), (TOKEN, "t".into())] {
            write(&late.join(name), text.as_bytes()).unwrap();
        }
        write(&folder.join(COORDINATOR).join(CA), ca.pem().as_bytes()).unwrap();
        let (port, waiting) = one(&folder).await;
        let dialer = Dialer::new(Some(Credentials::new(&late))).unwrap();
        let endpoint = Endpoint::from_shared(format!("https://localhost:{port}")).unwrap();
        let _ = dialer.dial(endpoint).await;
        assert!(!waiting.is_finished(), "an expired certificate got in");

        // The same, not expired, gets in: it is the date that keeps the other out.
        let (certificate, key) = certify(&ca, "in time", &[], 1).unwrap();
        write(&late.join(CERTIFICATE), certificate.as_bytes()).unwrap();
        write(&late.join(KEY), key.as_bytes()).unwrap();
        let endpoint = Endpoint::from_shared(format!("https://localhost:{port}")).unwrap();
        let _channel = dialer.dial(endpoint).await.unwrap();
        assert!(waiting.await.unwrap());
    }

    #[tokio::test]
    async fn more_connections_than_there_is_room_for_are_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut incoming = Box::pin(connection::incoming(listener, None, 1));
        let mut first = TcpStream::connect(address).await.unwrap();
        first.write_all(b"x").await.unwrap();
        let held = incoming.next().await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        assert_eq!(second.read(&mut [0; 1]).await.unwrap_or(0), 0, "there was room for one");
        drop(held);
        let mut third = TcpStream::connect(address).await.unwrap();
        third.write_all(b"x").await.unwrap();
        assert!(incoming.next().await.unwrap().is_ok());
    }
}

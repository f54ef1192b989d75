//! A folder of credentials, with the file names of Kubernetes' TLS secrets.

use crate::error::AccessError;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::rustls;

/// Certificates of the CAs that the other side may be certified by, PEM.
pub const CA: &str = "ca.crt";
/// This side's certificate chain, PEM.
pub const CERTIFICATE: &str = "tls.crt";
/// Its private key, PEM.
pub const KEY: &str = "tls.key";
/// The token that this side sends, one line.
pub const TOKEN: &str = "token";
/// The tokens that this side takes, by role.
pub const TOKENS: &str = "tokens";

/// The protocol that both sides agree on while they shake hands.
const HTTP2: &[u8] = b"h2";
/// For browsers, and whoever collects metrics.
const HTTP1: &[u8] = b"http/1.1";

/// A folder of credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    folder: PathBuf,
}

/// What the files held when they were read.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Files {
    ca: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Credentials {
    /// Those of a folder, which is read when they are needed, so that what changes in it counts.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Where one of them is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// One file.
    ///
    /// # Errors
    /// [`AccessError::Read`].
    pub fn read(&self, name: &str) -> Result<Vec<u8>, AccessError> {
        let path = self.path(name);
        fs::read(&path).map_err(|source| AccessError::Read { path, source })
    }

    pub(crate) fn files(&self) -> Result<Files, AccessError> {
        Ok(Files { ca: self.read(CA)?, certificate: self.read(CERTIFICATE)?, key: self.read(KEY)? })
    }

    /// What a client needs: it takes servers that the CA certifies under the name that was dialled, and shows its own certificate.
    ///
    /// # Errors
    /// Files that are missing or hold something else.
    pub fn client(&self) -> Result<ClientConfig, AccessError> {
        let files = self.files()?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|source| self.unusable(source))?;
        let (chain, key) = self.own(&files)?;
        let mut config = builder
            .with_root_certificates(self.roots(&files)?)
            .with_client_auth_cert(chain, key)
            .map_err(|source| self.unusable(source))?;
        config.alpn_protocols = vec![HTTP2.into()];
        Ok(config)
    }

    /// What a server needs: it takes clients that the CA certifies.
    ///
    /// # Errors
    /// Files that hold something else.
    pub(crate) fn server(&self, files: &Files) -> Result<ServerConfig, AccessError> {
        let roots = Arc::new(self.roots(files)?);
        let clients = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
        let clients = clients
            .map_err(|error| AccessError::Ca { folder: self.folder.clone(), reason: error.to_string() })?;
        let (chain, key) = self.own(files)?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|source| self.unusable(source))?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, key)
            .map_err(|source| self.unusable(source))?;
        config.alpn_protocols = vec![HTTP2.into(), HTTP1.into()];
        Ok(config)
    }

    fn roots(&self, files: &Files) -> Result<RootCertStore, AccessError> {
        let mut roots = RootCertStore::empty();
        for certificate in self.chain(CA, &files.ca)? {
            roots.add(certificate).map_err(|source| self.unusable(source))?;
        }
        Ok(roots)
    }

    fn own(
        &self,
        files: &Files,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), AccessError> {
        let chain = self.chain(CERTIFICATE, &files.certificate)?;
        let no_key = |_| AccessError::Pem { path: self.path(KEY), what: "private key" };
        Ok((chain, PrivateKeyDer::from_pem_slice(&files.key).map_err(no_key)?))
    }

    fn chain(&self, name: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, AccessError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let chain = chain.unwrap_or_default();
        if chain.is_empty() {
            return Err(AccessError::Pem { path: self.path(name), what: "certificate" });
        }
        Ok(chain)
    }

    fn unusable(&self, source: rustls::Error) -> AccessError {
        AccessError::Tls { folder: self.folder.clone(), source }
    }
}

/// The cryptography, named here so that it does not depend on what other crates of the program turn on.
fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

//! The client's end: connections that are encrypted and prove both sides where there are credentials, and plain ones where there are none.

use crate::credentials::Credentials;
use crate::error::AccessError;
use crate::token::Bearer;
use hyper_util::rt::TokioIo;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Uri};

/// A channel whose requests carry the folder's token.
pub type Line = InterceptedService<Channel, Bearer>;

/// How long connecting and shaking hands may take, each.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes connections.
#[derive(Clone, Debug, Default)]
pub struct Dialer {
    credentials: Option<Credentials>,
}

impl Dialer {
    /// With these credentials, or with none, which a coordinator takes on its own machine only.
    ///
    /// # Errors
    /// Credentials that can't be used.
    pub fn new(credentials: Option<Credentials>) -> Result<Self, AccessError> {
        if let Some(credentials) = &credentials {
            credentials.client()?;
            crate::token::authorization(credentials)?;
        }
        Ok(Self { credentials })
    }

    /// Connects. The channel connects again by itself, then with what the folder holds at that time.
    ///
    /// # Errors
    /// Those of the transport; the innermost source names the trouble.
    pub async fn dial(&self, endpoint: Endpoint) -> Result<Channel, tonic::transport::Error> {
        let credentials = match &self.credentials {
            None if endpoint.uri().scheme_str() == Some("https") => None,
            None => return endpoint.connect().await,
            some => some.clone(),
        };
        let connector = tower::service_fn(move |uri: Uri| {
            let credentials = credentials.clone();
            async move { secure(credentials.as_ref(), &uri).await.map(TokioIo::new) }
        });
        endpoint.connect_with_connector(connector).await
    }

    /// Gives the requests on `channel` the token.
    pub fn line(&self, channel: Channel) -> Line {
        InterceptedService::new(channel, Bearer::new(self.credentials.clone()))
    }
}

async fn secure(credentials: Option<&Credentials>, uri: &Uri) -> io::Result<TlsStream<TcpStream>> {
    let none =
        || io::Error::other(format!("{uri} asks for credentials: give their folder with --credentials"));
    let credentials = credentials.ok_or_else(none)?;
    let plain = || {
        io::Error::other(format!("{uri} is not encrypted, and credentials are given: use its https:// URL"))
    };
    let host = uri.host().filter(|_| uri.scheme_str() == Some("https")).ok_or_else(plain)?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let stream = timeout(PATIENCE, TcpStream::connect((&*host, uri.port_u16().unwrap_or(443)))).await??;
    stream.set_nodelay(true)?;
    let config = credentials.client().map_err(io::Error::other)?;
    let name = ServerName::try_from(host).map_err(io::Error::other)?;
    timeout(PATIENCE, TlsConnector::from(Arc::new(config)).connect(name, stream)).await?
}

//! From a location and the knobs to the clients that serve it.

use super::{absolute, error::StoreError, error::Trouble, local_path, patience::seconds};
use object_store::{
    ClientConfigKey, Error, ObjectStore, ObjectStoreScheme, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    azure::{AzureConfigKey, MicrosoftAzureBuilder},
    gcp::{GoogleCloudStorageBuilder, GoogleConfigKey},
    http::HttpBuilder,
    local::LocalFileSystem,
    path::Path,
};
use proto::config::StoreSection;
use std::{sync::Arc, time::Duration};
use url::{Position, Url};

/// What kind of store it is, as far as it has to be treated in its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A disk of this machine.
    Local,
    /// A plain HTTP server: no listing, no conditions, and perhaps no HEAD.
    Web,
    /// s3, gs or az.
    Cloud,
}

/// A store that nothing was asked of yet.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Tries once, for requests that are tried again by us.
    pub(crate) once: Arc<dyn ObjectStore>,
    /// The same store; tries again by itself, for operations of many requests (listing, uploads in parts).
    pub(crate) steady: Arc<dyn ObjectStore>,
    /// Of the location.
    pub(crate) path: Path,
    /// What precedes paths in messages and tells stores apart.
    pub(crate) root: String,
    /// How it has to be treated.
    pub(crate) kind: Kind,
}

/// What precedes the path of a file of this machine's disk.
pub(super) const DISK: &str = "/";
/// What a location can be.
const SCHEMES: &str = "give a path, or a file, s3, gs, az, http or https URL";
/// The longest a try may take where we keep the time ourselves.
const FOR_US: Duration = Duration::from_secs(7 * 24 * 3600);
/// What one request of an upload in parts may take beyond the timeout.
const PART_ALLOWANCE: Duration = Duration::from_secs(16);

/// Opens what a path or URL names.
pub(super) fn open(location: &str, spec: &StoreSection) -> Result<Opened, StoreError> {
    let location = absolute(location)?;
    let failed = |reason: String| StoreError {
        action: "opening",
        path: location.split('?').next().unwrap_or_default().into(),
        reason,
        writing: false,
        trouble: Trouble::Refused,
    };
    if let Some(path) = local_path(&location) {
        let path = Path::from_absolute_path(path).map_err(|e| failed(e.to_string()))?;
        let disk: Arc<dyn ObjectStore> =
            Arc::new(LocalFileSystem::new().with_fsync(true).with_automatic_cleanup(true));
        return Ok(Opened { once: disk.clone(), steady: disk, path, root: DISK.into(), kind: Kind::Local });
    }
    let url = Url::parse(&location).map_err(|e| failed(e.to_string()))?;
    let (scheme, path) = scheme(&url).map_err(failed)?;
    let clients = Clients { url: &url, connect: seconds(spec.connect_timeout) };
    let never = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    let again = RetryConfig {
        max_retries: spec.retries as usize,
        retry_timeout: seconds(spec.retry_seconds),
        ..RetryConfig::default()
    };
    let told = |e: Error| failed(super::error::explain(&e));
    let once = clients.build(&scheme, never, FOR_US).map_err(told)?;
    let steady =
        clients.build(&scheme, again, seconds(spec.timeout).saturating_add(PART_ALLOWANCE)).map_err(told)?;
    let kind = if scheme == ObjectStoreScheme::Http { Kind::Web } else { Kind::Cloud };
    Ok(Opened { once, steady, root: root(&url, &path), path, kind })
}

/// Which store serves the URL, and the path in it. A query makes any http URL a plain one: it is signed for that file.
fn scheme(url: &Url) -> Result<(ObjectStoreScheme, Path), String> {
    let web = matches!(url.scheme(), "http" | "https");
    if url.query().is_some() {
        if !web {
            return Err(format!(
                "a query after a {}:// URL is not used: leave it out, and give credentials by the environment",
                url.scheme()
            ));
        }
        let path = Path::from_url_path(url.path()).map_err(|e| e.to_string())?;
        return Ok((ObjectStoreScheme::Http, path));
    }
    let known = ObjectStoreScheme::parse(url);
    known.map_err(|e| format!("{e}; {SCHEMES}"))
}

/// What precedes `path` in the URL, without what is secret in it. In some URLs the bucket is a part of the path.
fn root(url: &Url, path: &Path) -> String {
    let mut shown = url.clone();
    let _ = shown.set_password(None);
    let before = &shown[..Position::BeforePath];
    let whole = Path::from_url_path(url.path()).unwrap_or_default();
    let bucket = whole.as_ref().strip_suffix(path.as_ref()).unwrap_or_default().trim_matches('/');
    if bucket.is_empty() { format!("{before}/") } else { format!("{before}/{bucket}/") }
}

struct Clients<'a> {
    url: &'a Url,
    connect: Duration,
}

impl Clients<'_> {
    /// A client of the store, configured as the cloud's own tools are, from the environment.
    fn build(
        &self,
        scheme: &ObjectStoreScheme,
        retry: RetryConfig,
        timeout: Duration,
    ) -> Result<Arc<dyn ObjectStore>, Error> {
        let limits = [
            (ClientConfigKey::Timeout, format!("{}ms", timeout.as_millis())),
            (ClientConfigKey::ConnectTimeout, format!("{}ms", self.connect.as_millis())),
        ];
        let url = self.url.as_str();
        Ok(match scheme {
            ObjectStoreScheme::AmazonS3 => {
                let mut builder = AmazonS3Builder::from_env().with_url(url).with_retry(retry);
                let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
                let endpoint = endpoint.or_else(|| builder.get_config_value(&AmazonS3ConfigKey::S3Endpoint));
                if endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")) {
                    builder = builder.with_allow_http(true);
                }
                for (key, value) in limits {
                    builder = builder.with_config(AmazonS3ConfigKey::Client(key), value);
                }
                Arc::new(builder.build()?)
            }
            ObjectStoreScheme::GoogleCloudStorage => {
                let mut builder = GoogleCloudStorageBuilder::from_env().with_url(url).with_retry(retry);
                for (key, value) in limits {
                    builder = builder.with_config(GoogleConfigKey::Client(key), value);
                }
                Arc::new(builder.build()?)
            }
            ObjectStoreScheme::MicrosoftAzure => {
                let mut builder = MicrosoftAzureBuilder::from_env().with_url(url).with_retry(retry);
                for (key, value) in limits {
                    builder = builder.with_config(AzureConfigKey::Client(key), value);
                }
                Arc::new(builder.build()?)
            }
            ObjectStoreScheme::Http => {
                let query = self.url.query().map(|query| format!("/?{query}")).unwrap_or_default();
                let origin = format!("{}{query}", &self.url[..Position::BeforePath]);
                let mut builder = HttpBuilder::new().with_url(origin).with_retry(retry);
                builder = builder.with_config(ClientConfigKey::AllowHttp, "true");
                for (key, value) in limits {
                    builder = builder.with_config(key, value);
                }
                Arc::new(builder.build()?)
            }
            other => {
                let source = format!("{other:?} keeps nothing; {SCHEMES}").into();
                return Err(Error::NotSupported { source });
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(location: &str) -> Result<Opened, String> {
        open(location, &StoreSection::default()).map_err(|e| e.to_string())
    }

    #[test]
    fn every_scheme_has_its_store() {
        for (location, store, root, path, kind) in [
            ("/data/a", "LocalFileSystem", "/", "data/a", Kind::Local),
            ("file:///data/a", "LocalFileSystem", "/", "data/a", Kind::Local),
            ("s3://bucket/a/b", "AmazonS3(bucket)", "s3://bucket/", "a/b", Kind::Cloud),
            ("gs://bucket/a", "GoogleCloudStorage(bucket)", "gs://bucket/", "a", Kind::Cloud),
            (
                "https://s3.eu-west-1.amazonaws.com/bucket/a",
                "AmazonS3(bucket)",
                "https://s3.eu-west-1.amazonaws.com/bucket/",
                "a",
                Kind::Cloud,
            ),
            (
                "https://account.blob.core.windows.net/box/a",
                "MicrosoftAzure",
                "https://account.blob.core.windows.net/box/",
                "a",
                Kind::Cloud,
            ),
            (
                "abfss://box@account.dfs.core.windows.net/a",
                "MicrosoftAzure",
                "abfss://box@account.dfs.core.windows.net/",
                "a",
                Kind::Cloud,
            ),
            ("http://host:81/a/b.parquet", "HttpStore", "http://host:81/", "a/b.parquet", Kind::Web),
            ("https://me:word@host/a", "HttpStore", "https://me@host/", "a", Kind::Web),
            (
                "https://bucket.s3.amazonaws.com/a",
                "AmazonS3(bucket)",
                "https://bucket.s3.amazonaws.com/",
                "a",
                Kind::Cloud,
            ),
            (
                "https://bucket.s3.amazonaws.com/a?X-Amz-Signature=1",
                "HttpStore",
                "https://bucket.s3.amazonaws.com/",
                "a",
                Kind::Web,
            ),
        ] {
            let found = opened(location).unwrap();
            assert!(found.once.to_string().starts_with(store), "{location}: {}", found.once);
            assert_eq!((found.root.as_str(), found.path.as_ref(), found.kind), (root, path, kind));
        }
    }

    #[test]
    fn what_can_not_be_opened_is_told_without_its_secrets() {
        for (location, told) in [
            ("", "the location is empty"),
            ("s4://bucket/a", "file, s3, gs, az, http or https"),
            ("s3://bucket/a?versionId=secret", "a query after a s3:// URL is not used"),
            ("az://box/a", "set AZURE_STORAGE_ACCOUNT_NAME"),
            ("memory:///a", "file, s3, gs, az, http or https"),
            ("http://", "empty host"),
        ] {
            let error = opened(location).unwrap_err();
            assert!(error.contains(told) && !error.contains("secret"), "{error}");
        }
    }
}

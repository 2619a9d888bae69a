//! From a URL to a client that connects to checked addresses and nowhere else.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aura_core::ports::Failed;
use aura_core::task::Permissions;
use aura_core::{Code, Failure, limits};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Client, retry};
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls_platform_verifier::Verifier;
use tokio::time::{Instant, timeout_at};
use url::{Host, Url};

use super::guard::{self, Reach};

/// Where the names of hosts are looked up.
#[async_trait]
pub trait Lookup: Send + Sync {
    /// The addresses of a host, each with the port.
    ///
    /// # Errors
    /// The name has no address, or nobody answers.
    async fn lookup(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The resolver of the system, `/etc/hosts` included.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemLookup;

#[async_trait]
impl Lookup for SystemLookup {
    async fn lookup(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let addresses = tokio::net::lookup_host((host, port)).await?;
        Ok(addresses.take(limits::HTTP_ADDRESSES).collect())
    }
}

/// An idle connection is closed after this. Many servers close theirs after 5 s; a request written to a connection that
/// is being closed would leave its effect in doubt for no reason.
const IDLE: Duration = Duration::from_secs(4);

/// Idle connections kept per host.
const IDLE_PER_HOST: usize = 8;

/// Bytes of the header list of an HTTP/2 response.
const HEADER_LIST_BYTES: u32 = 64 << 10;

/// Longest times for making a connection. A few steps, so that calls with different timeouts share their clients.
const CONNECT_MS: [u64; 8] = [10_000, 5_000, 2_500, 1_000, 500, 250, 100, 25];

/// Clients and what they share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Network {
    inner: Arc<Inner>,
}

struct Inner {
    lookup: Arc<dyn Lookup>,
    extra_roots: Vec<Vec<u8>>,
    /// Made when first needed: it reads the certificates of the platform, and a machine without any can still call
    /// plain HTTP.
    tls: OnceLock<Result<ClientConfig, String>>,
    /// The most recently used first.
    clients: Mutex<VecDeque<(Key, Client)>>,
}

/// What a client is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    /// The only addresses that it connects to, sorted.
    addresses: Vec<SocketAddr>,
    connect_ms: u64,
    tls: bool,
}

impl Network {
    pub(crate) fn new(lookup: Arc<dyn Lookup>, extra_roots: Vec<Vec<u8>>) -> Self {
        let (tls, clients) = (OnceLock::new(), Mutex::new(VecDeque::new()));
        Self { inner: Arc::new(Inner { lookup, extra_roots, tls, clients }) }
    }

    /// A client for one request to `url`, which must be sent before `deadline`.
    ///
    /// # Errors
    /// All certain: `FORBIDDEN`, `INVALID_INPUT`, `TIMEOUT` or `NETWORK_ERROR` of the lookup, `UNAVAILABLE` where TLS
    /// can't be set up.
    pub(super) async fn client(
        &self,
        url: &Url,
        permissions: &Permissions,
        deadline: Instant,
    ) -> Result<Client, Failed> {
        let addresses = self.addresses(url, permissions, deadline).await?;
        let left = deadline.saturating_duration_since(Instant::now());
        let key = Key { addresses, connect_ms: connect_ms(left), tls: url.scheme() == "https" };
        Ok(self.client_for(key)?)
    }

    async fn addresses(
        &self,
        url: &Url,
        permissions: &Permissions,
        deadline: Instant,
    ) -> Result<Vec<SocketAddr>, Failure> {
        let invalid = |what: &str| Failure::certain(Code::InvalidInput, what);
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid("only http and https can be called"));
        }
        let host = url.host().ok_or_else(|| invalid("the URL has no host"))?;
        let port = url.port_or_known_default().ok_or_else(|| invalid("the URL has no port"))?;
        let mut addresses = match host {
            Host::Ipv4(ip) => vec![SocketAddr::new(IpAddr::V4(ip), port)],
            Host::Ipv6(ip) => vec![SocketAddr::new(IpAddr::V6(ip), port)],
            Host::Domain(name) => {
                if guard::is_metadata_name(name) {
                    return Err(forbidden(&host, Reach::Never));
                }
                self.look_up(name, port, deadline).await?
            }
        };
        let reach = addresses.iter().map(|address| guard::reach(address.ip())).max();
        match reach.unwrap_or(Reach::Never) {
            Reach::Public => {}
            Reach::Local if guard::is_allowed(&permissions.allow_net, &host, port) => {}
            reach => return Err(forbidden(&host, reach)),
        }
        addresses.sort_unstable();
        addresses.dedup();
        Ok(addresses)
    }

    async fn look_up(
        &self,
        name: &str,
        port: u16,
        deadline: Instant,
    ) -> Result<Vec<SocketAddr>, Failure> {
        let found = timeout_at(deadline, self.inner.lookup.lookup(name, port)).await;
        let failed = |what: String| Err(Failure::certain(Code::NetworkError, what));
        match found {
            Err(_) => {
                Err(Failure::certain(Code::Timeout, format!("looking up {name} took too long")))
            }
            Ok(Err(error)) => failed(format!("{name} can't be looked up: {error}")),
            Ok(Ok(found)) if found.is_empty() => failed(format!("{name} has no address")),
            Ok(Ok(mut found)) => {
                found.truncate(limits::HTTP_ADDRESSES);
                Ok(found)
            }
        }
    }

    fn client_for(&self, key: Key) -> Result<Client, Failure> {
        let mut clients = self.inner.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let known = clients.iter().position(|(known, _)| *known == key);
        if let Some((key, client)) = known.and_then(|at| clients.remove(at)) {
            clients.push_front((key, client.clone()));
            return Ok(client);
        }
        let client = self.build(&key)?;
        clients.truncate(limits::HTTP_CLIENTS - 1);
        clients.push_front((key, client.clone()));
        Ok(client)
    }

    fn build(&self, key: &Key) -> Result<Client, Failure> {
        let mut builder = Client::builder()
            .user_agent(concat!("aura/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Pinned(key.addresses.clone()))
            .redirect(Policy::none())
            .retry(retry::never())
            .no_proxy()
            .referer(false)
            .connect_timeout(Duration::from_millis(key.connect_ms))
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .http2_max_header_list_size(HEADER_LIST_BYTES);
        // A client that is only used for plain HTTP still wants a TLS set-up; an empty one costs nothing.
        builder = builder.tls_backend_preconfigured(if key.tls { self.tls()? } else { no_tls()? });
        builder.build().map_err(|e| Failure::certain(Code::Internal, super::chain(&e)))
    }

    fn tls(&self) -> Result<ClientConfig, Failure> {
        let made = self.inner.tls.get_or_init(|| {
            let roots = self.inner.extra_roots.iter().map(|root| root.clone().into());
            let provider = provider();
            let verifier = Verifier::new_with_extra_roots(roots, provider.clone());
            let verifier = verifier.map_err(|e| e.to_string())?;
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|e| e.to_string())?
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier));
            let mut config = config.with_no_client_auth();
            config.alpn_protocols = vec!["h2".into(), "http/1.1".into()];
            Ok(config)
        });
        made.clone()
            .map_err(|e| Failure::certain(Code::Unavailable, format!("TLS can't be set up: {e}")))
    }
}

/// The one crypto provider of the process; the first caller installs it.
fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    if let Some(provider) = rustls::crypto::CryptoProvider::get_default() {
        return provider.clone();
    }
    // Somebody else may have been faster; then theirs is in force, and ours is only used here.
    let _ = aws_lc_rs::default_provider().install_default();
    let installed = rustls::crypto::CryptoProvider::get_default().cloned();
    installed.unwrap_or_else(|| Arc::new(aws_lc_rs::default_provider()))
}

/// A set-up that trusts nobody.
fn no_tls() -> Result<ClientConfig, Failure> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| Failure::certain(Code::Internal, e.to_string()))?;
    Ok(builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
}

fn connect_ms(left: Duration) -> u64 {
    // Below the time of the whole call, so that a connection that can't be made is known as such, and certain.
    let most = u64::try_from(left.as_millis()).unwrap_or(u64::MAX) / 4 * 3;
    let fits = CONNECT_MS.into_iter().find(|&step| step <= most);
    fits.unwrap_or(CONNECT_MS[CONNECT_MS.len() - 1])
}

fn forbidden(host: &Host<&str>, reach: Reach) -> Failure {
    let what = match reach {
        Reach::Never => {
            format!("{host} is a link-local or metadata address, which is never called")
        }
        Reach::Public | Reach::Local => {
            format!("{host} is a local or private address that this run is not allowed to call")
        }
    };
    Failure::certain(Code::Forbidden, what)
}

/// Answers every name with the addresses that were checked.
struct Pinned(Vec<SocketAddr>);

impl Resolve for Pinned {
    fn resolve(&self, _name: Name) -> Resolving {
        let addresses: Addrs = Box::new(self.0.clone().into_iter());
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

//! `Store` on etcd (3.4 or newer) through etcd-client.
//!
//! All calls share one HTTP/2 connection per endpoint and pipeline on it; watches have another. Calls have a deadline; within it a read is
//! tried again, and a write too where it certainly has not been sent.

use std::time::Duration;

use etcd_client::proto::{PbResponseOp, PbTxnOpResponse};
use etcd_client::{
    CompactionOptions, ConnectOptions, GetOptions, KvClient, LeaseClient, MaintenanceClient, WatchClient, WatchOptions,
};
use gantry_common::backoff::Backoff;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use tokio_rustls::rustls::ClientConfig;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tower::util::BoxCloneSyncService;

use crate::error::{Error, Result};
use crate::store::{KeyValue, LeaseId, Previous, Range, RangeResult, Store, StoreStatus, Txn, TxnOutcome, WatchStream};

mod channel;
mod convert;
mod pong;
mod watch;

use convert::{failure, key_value, prefix_end, revision};

/// Keys per range call: 1,500 objects of usual size stay far below the decode limit.
const PAGE_KEYS: usize = 1_500;
/// Largest answer accepted; tonic's default of 4 MiB is less than one page.
const DECODE_LIMIT_BYTES: usize = 64 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
/// How often the other end is asked whether it is there, and how long it may take to answer.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
const PREPARING: &str = "preparing the etcd client";
const RETRY_MIN: Duration = Duration::from_millis(2);
const RETRY_MAX: Duration = Duration::from_millis(500);

/// Client certificate and trust, in PEM.
#[derive(Clone)]
pub struct EtcdTls {
    /// The authority that signed etcd's serving certificate.
    pub ca: Vec<u8>,
    /// Our certificate chain.
    pub certificate: Vec<u8>,
    /// Its private key.
    pub key: Vec<u8>,
}

/// How to reach etcd.
#[derive(Clone)]
pub struct EtcdConfig {
    /// URLs, e.g. `https://127.0.0.1:2379`; requests are spread over those that answer. Or one `unix://` and a path, for an etcd on
    /// this machine: etcd's part of a write costs a fifth to a third less, and file rights say who may use it (ADR 10).
    pub endpoints: Vec<String>,
    /// Required for https.
    pub tls: Option<EtcdTls>,
    /// Deadline of a call.
    pub timeout: Duration,
    /// Calls under way at a time; more wait within their deadline.
    pub max_in_flight: usize,
}

impl EtcdConfig {
    /// Defaults: 10 s, 4,096 calls.
    #[must_use]
    pub fn new(endpoints: Vec<String>) -> Self {
        Self { endpoints, tls: None, timeout: Duration::from_secs(10), max_in_flight: 4_096 }
    }

    /// With a client certificate.
    #[must_use]
    pub fn with_tls(mut self, tls: EtcdTls) -> Self {
        self.tls = Some(tls);
        self
    }
}

/// etcd as a [`Store`].
pub struct EtcdStore {
    kv: KvClient,
    watch: WatchClient,
    lease: LeaseClient,
    maintenance: MaintenanceClient,
    timeout: Duration,
    in_flight: Semaphore,
}

impl EtcdStore {
    /// Prepares the client; connections are made (and made again) when they are needed, so etcd need not run yet.
    ///
    /// # Errors
    /// `Invalid`: a URL or the TLS material cannot be used.
    pub async fn connect(config: &EtcdConfig) -> Result<Self> {
        let failed = |error| failure(error, PREPARING);
        let client = etcd_client::Client::from_channel(way(config)?, None).await.map_err(failed)?;
        // A member that has lost its leader would go on with a watch, and say nothing on it until it has one again. Told that
        // one is needed it ends the watch, which starts again wherever there is one. Watches have a way of their own: on a shared
        // one each answer to a write comes with the write's event, and wakes two tasks, hence two threads, where it could wake one.
        let led = ConnectOptions::new().with_require_leader(true);
        let watches = etcd_client::Client::from_channel(way(config)?, Some(led)).await.map_err(failed)?;
        Ok(Self {
            kv: client.kv_client().max_decoding_message_size(DECODE_LIMIT_BYTES),
            watch: watches.watch_client().max_decoding_message_size(DECODE_LIMIT_BYTES),
            lease: client.lease_client(),
            maintenance: client.maintenance_client(),
            timeout: config.timeout,
            in_flight: Semaphore::new(config.max_in_flight),
        })
    }

    /// Runs a call within its deadline, again while `again` says that its failure allows that.
    async fn call<T, F>(
        &self,
        doing: &'static str,
        again: fn(&etcd_client::Error) -> bool,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let deadline = Instant::now() + self.timeout;
        let limited = async {
            let _permit = self.permit().await;
            let mut backoff: Option<Backoff> = None;
            loop {
                let error = match attempt().await {
                    Ok(value) => return Ok(value),
                    Err(error) => error,
                };
                let pause = backoff.get_or_insert_with(|| Backoff::new(RETRY_MIN, RETRY_MAX)).next();
                if !again(&error) || Instant::now() + pause >= deadline {
                    return Err(if convert::is_not_sent(&error) {
                        Error::NotSent { doing, source: Box::new(error) }
                    } else {
                        failure(error, doing)
                    });
                }
                tokio::time::sleep(pause).await;
            }
        };
        match tokio::time::timeout_at(deadline, limited).await {
            Ok(result) => result,
            Err(_) => Err(Error::Timeout { doing, after: self.timeout }),
        }
    }

    async fn permit(&self) -> SemaphorePermit<'_> {
        self.in_flight.acquire().await.expect("the semaphore is never closed")
    }

    /// One call: at most `limit` keys (0 = all that are asked for).
    async fn page(&self, range: &Range, start: &[u8], limit: usize, at: u64) -> Result<RangeResult> {
        let mut options = GetOptions::new().with_range(prefix_end(&range.prefix)).with_revision(signed(at));
        options = options.with_limit(i64::try_from(limit).unwrap_or(i64::MAX));
        options = if range.keys_only { options.with_keys_only() } else { options };
        options = if range.count_only { options.with_count_only() } else { options };
        let read = || async { self.kv.clone().get(start, Some(options.clone())).await };
        let mut answer = self.call("reading a range of keys", convert::is_transient, read).await?;
        let present = revision(answer.header());
        Ok(RangeResult {
            revision: if at == 0 { present } else { at },
            more: answer.more(),
            count: u64::try_from(answer.count()).unwrap_or_default(),
            kvs: answer.take_kvs().into_iter().map(|kv| key_value(kv.0)).collect(),
        })
    }
}

/// A way to etcd: one connection to each member that is used, made when it is needed.
fn way(config: &EtcdConfig) -> Result<etcd_client::Channel> {
    let invalid = |detail: String| Error::Invalid { doing: PREPARING, detail };
    match config.endpoints.as_slice() {
        [] => Err(invalid("no endpoint given".to_owned())),
        [one] => {
            let channel = channel::Channel::new(one, client_tls(one, config).map_err(&invalid)?);
            Ok(etcd_client::Channel::Custom(BoxCloneSyncService::new(channel.map_err(&invalid)?)))
        }
        several => {
            let endpoints: Vec<Endpoint> =
                several.iter().map(|url| endpoint(url, config).map_err(&invalid)).collect::<Result<_>>()?;
            Ok(etcd_client::Channel::Tonic(Channel::balance_list(endpoints.into_iter())))
        }
    }
}

/// What a connection to `url` needs for TLS; nothing for plain HTTP.
fn client_tls(url: &str, config: &EtcdConfig) -> Result<Option<ClientConfig>, String> {
    if !url.starts_with("https://") {
        return Ok(None);
    }
    let tls = config.tls.as_ref().ok_or_else(|| format!("endpoint {url}: https needs a client certificate"))?;
    let identity = gantry_common::tls::Identity { cert_pem: tls.certificate.clone(), key_pem: tls.key.clone() };
    let made = gantry_common::tls::client_config(&tls.ca, Some(&identity), &[b"h2"]);
    made.map(Some).map_err(|error| format!("endpoint {url}: {}", gantry_common::error_chain(&error)))
}

/// One of several, as tonic's channel takes them.
fn endpoint(url: &str, config: &EtcdConfig) -> Result<Endpoint, String> {
    if url.starts_with(channel::SOCKET_SCHEME) {
        return Err(format!("endpoint {url}: a unix socket must be the only endpoint"));
    }
    let say = |error: &dyn std::error::Error| format!("endpoint {url}: {}", gantry_common::error_chain(error));
    let mut endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| say(&error))?;
    if url.starts_with("https://") {
        let tls = config.tls.as_ref().ok_or_else(|| format!("endpoint {url}: https needs a client certificate"))?;
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&tls.ca))
            .identity(Identity::from_pem(&tls.certificate, &tls.key));
        endpoint = endpoint.tls_config(tls).map_err(|error| say(&error))?;
    }
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES))
}

fn signed(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

/// Fills in the revision that etcd does not repeat in its refusal.
fn about(revision: u64) -> impl Fn(Error) -> Error {
    move |error| match error {
        Error::Compacted { oldest, .. } => Error::Compacted { requested: revision, oldest },
        Error::FutureRevision { current, .. } => Error::FutureRevision { requested: revision, current },
        other => other,
    }
}

#[async_trait::async_trait]
impl Store for EtcdStore {
    async fn get(&self, key: &str) -> Result<Option<KeyValue>> {
        let read = || async { self.kv.clone().get(key, None).await };
        let mut answer = self.call("reading a key", convert::is_transient, read).await?;
        Ok(answer.take_kvs().pop().map(|kv| key_value(kv.0)))
    }

    async fn range(&self, range: Range) -> Result<RangeResult> {
        let wanted = if range.limit == 0 { usize::MAX } else { range.limit };
        let mut start = convert::range_start(&range);
        let mut page_keys = PAGE_KEYS;
        let mut all: Option<RangeResult> = None;
        loop {
            let have = all.as_ref().map_or(0, |all| all.kvs.len());
            let at = all.as_ref().map_or(range.revision, |all| all.revision);
            let limit = if range.count_only { 0 } else { page_keys.min(wanted - have) };
            let page = match self.page(&range, &start, limit, at).await {
                Ok(page) => page,
                Err(Error::TooLarge { .. }) if limit > 1 => {
                    page_keys = limit / 2;
                    continue;
                }
                Err(error) => return Err(about(at)(error)),
            };
            let all = all.get_or_insert_with(|| RangeResult {
                revision: page.revision,
                count: page.count,
                ..RangeResult::default()
            });
            all.more = page.more && !range.count_only;
            all.kvs.extend(page.kvs);
            match all.kvs.last().filter(|_| all.more && all.kvs.len() < wanted) {
                Some(last) => start = [last.key.as_bytes(), &[0]].concat(),
                None => return Ok(std::mem::take(all)),
            }
        }
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome> {
        let request = convert::txn(txn);
        let commit = || async { self.kv.clone().txn(request.clone()).await };
        let answer = self.call("committing a transaction", convert::is_not_sent, commit).await?.0;
        let revision = answer.header.map_or(0, |header| u64::try_from(header.revision).unwrap_or_default());
        if answer.succeeded {
            return Ok(TxnOutcome::Committed { revision });
        }
        let read = |op: PbResponseOp| match op.response {
            Some(PbTxnOpResponse::ResponseRange(mut range)) => range.kvs.pop().map(key_value),
            _ => None,
        };
        Ok(TxnOutcome::Conflict { revision, current: answer.responses.into_iter().map(read).collect() })
    }

    async fn watch(&self, prefix: &str, from: u64, previous: Previous) -> Result<WatchStream> {
        let options =
            WatchOptions::new().with_range(prefix_end(prefix)).with_start_revision(signed(from)).with_fragment();
        let options = if previous == Previous::Include { options.with_prev_key() } else { options };
        let key = if prefix.is_empty() { vec![0] } else { prefix.as_bytes().to_vec() };
        let start = || async { self.watch.clone().watch(key.clone(), Some(options.clone())).await };
        let stream = self.call("starting a watch", convert::is_transient, start).await?;
        watch::run(stream, from, self.timeout).await
    }

    async fn compact(&self, revision: u64) -> Result<()> {
        let options = CompactionOptions::new();
        let compact = || async { self.kv.clone().compact(signed(revision), Some(options.clone())).await };
        self.call("compacting", convert::is_transient, compact).await.map(drop).map_err(about(revision))
    }

    async fn revision(&self) -> Result<u64> {
        let options = GetOptions::new().with_count_only();
        let read = || async { self.kv.clone().get([1], Some(options.clone())).await };
        Ok(revision(self.call("reading the revision", convert::is_transient, read).await?.header()))
    }

    async fn lease_grant(&self, ttl: Duration) -> Result<LeaseId> {
        let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX).max(1);
        let grant = || async { self.lease.clone().grant(seconds, None).await };
        Ok(self.call("granting a lease", convert::is_not_sent, grant).await?.id())
    }

    async fn lease_keep_alive(&self, lease: LeaseId) -> Result<Duration> {
        let renew = || async {
            let (mut keeper, mut stream) = self.lease.clone().keep_alive(lease).await?;
            keeper.keep_alive().await?;
            stream.message().await
        };
        match self.call("renewing a lease", convert::is_transient, renew).await {
            Ok(Some(answer)) if answer.ttl() > 0 => Ok(Duration::from_secs(answer.ttl().unsigned_abs())),
            Ok(_) => Err(Error::LeaseNotFound { id: lease }),
            Err(Error::LeaseNotFound { .. }) => Err(Error::LeaseNotFound { id: lease }),
            Err(error) => Err(error),
        }
    }

    async fn lease_revoke(&self, lease: LeaseId) -> Result<()> {
        let revoke = || async { self.lease.clone().revoke(lease).await };
        match self.call("revoking a lease", convert::is_not_sent, revoke).await {
            Err(Error::LeaseNotFound { .. }) => Err(Error::LeaseNotFound { id: lease }),
            other => other.map(drop),
        }
    }

    async fn status(&self) -> Result<StoreStatus> {
        let read = || async { self.maintenance.clone().status().await };
        let answer = self.call("reading the status", convert::is_transient, read).await?;
        Ok(StoreStatus {
            version: answer.version().to_owned(),
            database_bytes: u64::try_from(answer.db_size()).unwrap_or_default(),
            leader: answer.leader(),
            revision: revision(answer.header()),
        })
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Request, Response};
    use parking_lot::Mutex;
    use std::sync::Arc;
    use tokio::net::TcpStream;

    use super::*;

    /// An etcd that has lost its leader. It keeps the heads of what it is asked.
    async fn leaderless() -> (String, Arc<Mutex<Vec<Request<()>>>>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        gantry_common::task::spawn("server", async move {
            while let Ok((stream, _)) = listener.accept().await {
                gantry_common::task::spawn("connection", refuse_all(stream, log.clone()));
            }
        });
        (url, asked)
    }

    async fn refuse_all(stream: TcpStream, log: Arc<Mutex<Vec<Request<()>>>>) {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let mut headers = HeaderMap::new();
            headers.insert("content-type", HeaderValue::from_static("application/grpc"));
            headers.insert("grpc-status", HeaderValue::from_static("14"));
            headers.insert("grpc-message", HeaderValue::from_static("etcdserver: no leader"));
            let mut answer = Response::new(());
            *answer.headers_mut() = headers;
            log.lock().push(request.map(drop));
            respond.send_response(answer, true).unwrap();
        }
    }

    #[tokio::test]
    async fn a_watch_needs_a_leader() {
        let (url, asked) = leaderless().await;
        let config = EtcdConfig { timeout: Duration::from_millis(200), ..EtcdConfig::new(vec![url]) };
        let store = EtcdStore::connect(&config).await.unwrap();
        let ended = store.watch("", 1, Previous::Omit).await.map(drop).unwrap_err();
        assert!(ended.is_transient(), "it is tried again, elsewhere: {ended}");
        assert!(store.revision().await.is_err());
        let asked = asked.lock();
        let leads = |path: &str| {
            let heads = asked.iter().filter(|head| head.uri().path() == path);
            heads.map(|head| head.headers().contains_key("hasleader")).collect::<Vec<_>>()
        };
        let (watches, reads) = (leads("/etcdserverpb.Watch/Watch"), leads("/etcdserverpb.KV/Range"));
        assert!(!watches.is_empty() && watches.iter().all(|leads| *leads), "{watches:?}");
        assert!(!reads.is_empty() && reads.iter().all(|leads| !*leads), "{reads:?}");
    }
}

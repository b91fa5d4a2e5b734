//! The connection to the API servers.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use gantry_common::{kubeconfig, tls::Identity};
use gantry_proto::v1::{
    cluster_client::ClusterClient, nodes_client::NodesClient, objects_client::ObjectsClient,
    sessions_client::SessionsClient,
};
use serde_json::Value;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use crate::{Api, Batch, DynApi, Error, Object, ResourceId, Result, replicas::Replicas};

/// The largest message that is taken from the API server: a watch batch or list chunk of big objects, in bytes.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// The largest message of a node's streams, in bytes; a frame of a session has 64 KiB of data.
const NODE_MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Bytes that may be on their way to this side: in one stream, and in all of a connection.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// The same for the connections of sessions. There is room for all streams together, so that those that nobody reads do
/// not hold up the others: as many streams as the server allows on a connection.
const SESSION_WINDOW_BYTES: u32 = 256 << 10;
const SESSIONS_WINDOW_BYTES: u32 = 1000 * SESSION_WINDOW_BYTES;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest message of a session, in bytes: its data frames have 64 KiB.
const SESSION_MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Where the API servers are and who calls.
#[derive(Debug, Clone)]
pub struct Config {
    /// `https://host:port`, one per replica.
    pub servers: Vec<String>,
    /// The CA of the servers' certificates.
    pub ca_pem: Vec<u8>,
    /// The name in the servers' certificates, where it is not the host.
    pub tls_server_name: Option<String>,
    /// The caller's certificate.
    pub identity: Option<Identity>,
    /// The caller's bearer token.
    pub token: Option<String>,
    /// `component/version`; the part before the slash is the default field manager.
    pub user_agent: String,
}

impl Config {
    /// From a resolved kubeconfig context.
    #[must_use]
    pub fn from_resolved(resolved: kubeconfig::Resolved, user_agent: &str) -> Self {
        Self {
            servers: resolved.servers,
            ca_pem: resolved.ca_pem,
            tls_server_name: resolved.tls_server_name,
            identity: resolved.identity,
            token: resolved.token,
            user_agent: user_agent.to_owned(),
        }
    }
}

/// The revision at which a leader took over; sent with each write, so that a paused old leader cannot write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// `namespace/name` of the Lease.
    pub lease: String,
    /// The Lease's resource version when this leader took over.
    pub revision: u64,
}

/// Puts credentials and the fence on every call.
#[derive(Clone, Default)]
pub(crate) struct Headers {
    token: Option<MetadataValue<Ascii>>,
    fence: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Headers {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        if let Some(fence) = &self.fence {
            request.metadata_mut().insert("gantry-fence", fence.clone());
        }
        Ok(request)
    }
}

pub(crate) type Service = InterceptedService<Replicas, Headers>;

struct Shared {
    servers: Replicas,
    replicas: Vec<(String, Channel)>,
    /// For the connections that sessions have to themselves, made when there is a session.
    endpoints: Vec<Endpoint>,
    sessions: OnceLock<Replicas>,
    user_agent: String,
}

/// A cheap handle to one or more API server replicas. Connects when first used and again whenever it must.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    headers: Headers,
}

fn endpoint(config: &Config, server: &str, stream_window: u32, connection_window: u32) -> Result<Endpoint> {
    let address = |source| Error::Address { server: server.to_owned(), source };
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&config.ca_pem));
    if let Some(id) = &config.identity {
        tls = tls.identity(tonic::transport::Identity::from_pem(&id.cert_pem, &id.key_pem));
    }
    if let Some(name) = &config.tls_server_name {
        tls = tls.domain_name(name);
    }
    Endpoint::from_shared(server.to_owned())
        .map_err(address)?
        .user_agent(config.user_agent.clone())
        .map_err(address)?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(stream_window)
        .initial_connection_window_size(connection_window)
        .tls_config(tls)
        .map_err(address)
}

/// Does not connect yet. Begins at a random server.
fn connect(endpoints: impl Iterator<Item = Endpoint>) -> Replicas {
    let endpoints: Vec<Endpoint> = endpoints.collect();
    let first = rand::random_range(0..endpoints.len());
    Replicas::new(endpoints, first)
}

impl Client {
    /// A client for `config`; does not connect yet. Must be called inside a runtime.
    ///
    /// # Errors
    /// When there is no server, or an address or PEM text is unusable.
    pub fn new(config: &Config) -> Result<Self> {
        gantry_common::tls::install_provider();
        let windows = |stream, connection| {
            config.servers.iter().map(|server| endpoint(config, server, stream, connection)).collect::<Result<Vec<_>>>()
        };
        let calls = windows(STREAM_WINDOW_BYTES, CONNECTION_WINDOW_BYTES)?;
        if calls.is_empty() {
            return Err(Error::NoServer);
        }
        let sessions = windows(SESSION_WINDOW_BYTES, SESSIONS_WINDOW_BYTES)?;
        let shared = Shared {
            servers: connect(calls.into_iter()),
            replicas: config.servers.iter().cloned().zip(sessions.iter().map(Endpoint::connect_lazy)).collect(),
            endpoints: sessions,
            sessions: OnceLock::new(),
            user_agent: config.user_agent.clone(),
        };
        let token = config.token.as_ref().and_then(|t| format!("Bearer {t}").parse().ok());
        Ok(Self { shared: Arc::new(shared), headers: Headers { token, fence: None } })
    }

    /// A client for the current context of a kubeconfig.
    ///
    /// # Errors
    /// When the file is unusable.
    pub fn from_kubeconfig(path: &Path, user_agent: &str) -> Result<Self> {
        Self::new(&Config::from_resolved(kubeconfig::load_file(path, None)?, user_agent))
    }

    /// The same connection, whose writes are refused once another leader has taken over.
    #[must_use]
    pub fn with_fence(&self, fence: &Fence) -> Self {
        let value = format!("{}@{}", fence.lease, fence.revision).parse().ok();
        Self { shared: Arc::clone(&self.shared), headers: Headers { fence: value, ..self.headers.clone() } }
    }

    /// `component/version` as sent.
    #[must_use]
    pub fn user_agent(&self) -> &str {
        &self.shared.user_agent
    }

    fn service(&self) -> Service {
        InterceptedService::new(self.shared.servers.clone(), self.headers.clone())
    }

    pub(crate) fn objects(&self) -> ObjectsClient<Service> {
        ObjectsClient::new(self.service())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Sessions with containers, over a connection of their own. [`Client::open_session`] speaks the frames.
    pub fn sessions(&self) -> SessionsClient<InterceptedService<Replicas, impl Interceptor + Clone + use<>>> {
        let own = self.shared.sessions.get_or_init(|| connect(self.shared.endpoints.iter().cloned()));
        let service = InterceptedService::new(own.clone(), self.headers.clone());
        SessionsClient::new(service).max_decoding_message_size(SESSION_MESSAGE_BYTES_MAX)
    }

    /// The node service of each replica, with the replica's address: a kubelet keeps a stream to every one. Each replica's
    /// connection is apart from that of other calls, and has room for sessions that nobody reads.
    pub fn nodes(&self) -> Vec<(String, NodesClient<InterceptedService<Channel, impl Interceptor + Clone + use<>>>)> {
        let nodes = |channel: &Channel| {
            let service = InterceptedService::new(channel.clone(), self.headers.clone());
            NodesClient::new(service).max_decoding_message_size(NODE_MESSAGE_BYTES_MAX)
        };
        self.shared.replicas.iter().map(|(address, channel)| (address.clone(), nodes(channel))).collect()
    }

    /// All namespaces, or the one and only scope of a cluster-scoped kind.
    #[must_use]
    pub fn api<K: Object>(&self) -> Api<K> {
        Api::new(self.clone(), "")
    }

    /// One namespace.
    #[must_use]
    pub fn namespaced<K: Object>(&self, namespace: &str) -> Api<K> {
        Api::new(self.clone(), namespace)
    }

    /// Untyped access; an empty namespace means all, or cluster scope.
    #[must_use]
    pub fn dynamic(&self, resource: ResourceId, namespace: &str) -> DynApi {
        DynApi::new(self.clone(), resource, namespace)
    }

    /// Pipelined writes.
    #[must_use]
    pub fn batch(&self) -> Batch {
        Batch::new(self.clone())
    }

    /// What `GET /version` answers.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn version(&self) -> Result<Value> {
        let mut cluster = ClusterClient::new(self.service());
        let reply = cluster
            .version(gantry_proto::v1::VersionRequest {})
            .await
            .map_err(|s| Error::from_grpc("Cluster.Version", s))?;
        decode("the version", &reply.into_inner().version)
    }

    /// The served resources: an `APIGroupDiscoveryList` of all groups.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn resources(&self) -> Result<Value> {
        let mut cluster = ClusterClient::new(self.service()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let reply = cluster
            .resources(gantry_proto::v1::ResourcesRequest {})
            .await
            .map_err(|s| Error::from_grpc("Cluster.Resources", s))?;
        decode("the served resources", &reply.into_inner().groups)
    }
}

fn decode(what: &str, bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(bytes).map_err(|source| Error::Decode { what: what.to_owned(), source })
}

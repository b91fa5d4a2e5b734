//! The sockets: UDP and TCP loops around the pure [`respond`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use gantry_common::shutdown::Shutdown;
use gantry_common::task;
use hickory_proto::op::{Message, Query, ResponseCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::respond::{Reply, UDP_BYTES_MAX, encode, respond, response_to};
use crate::upstream::Upstream;
use crate::zone::Zone;

/// TCP connections at once; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 256;
/// How long a TCP client may be idle.
const IDLE: Duration = Duration::from_secs(10);
/// The largest request that is read over UDP, in bytes.
const REQUEST_BYTES_MAX: usize = 4096;
/// The pause after a socket error that is not the client's fault, such as too many open files.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// What answers: shared by all sockets.
pub struct Server {
    /// The zone, once it is known; swapped as a whole, read without a lock.
    pub zone: ArcSwapOption<Zone>,
    /// The zone's domain, known before the zone.
    pub domain: String,
    /// The resolvers for everything else.
    pub upstream: Upstream,
    turn: AtomicUsize,
}

impl Server {
    /// A server without a zone.
    #[must_use]
    pub fn new(domain: &str, upstream: Upstream) -> Arc<Self> {
        let domain = domain.trim_matches('.').to_ascii_lowercase();
        Arc::new(Self { zone: ArcSwapOption::empty(), domain, upstream, turn: AtomicUsize::new(0) })
    }

    /// Answers what can be answered at once; the rest is for [`Server::forward`].
    fn reply(&self, request: &Message) -> Reply {
        let zone = self.zone.load();
        let mut reply = respond(request, zone.as_deref(), &self.domain);
        if let Reply::Ready(message) = &mut reply {
            self.rotate(message);
        }
        reply
    }

    /// Clients take the first address: each answer starts with another one.
    fn rotate(&self, message: &mut Message) {
        let kind = message.answers.last().map(hickory_proto::rr::Record::record_type);
        let first = message.answers.iter().position(|r| Some(r.record_type()) == kind).unwrap_or(0);
        let some = &mut message.answers[first..];
        if some.len() > 1 {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % some.len();
            some.rotate_left(turn);
        }
    }

    async fn forward(&self, request: &Message, mut response: Message, question: &Query) -> Message {
        let dnssec = request.edns.as_ref().is_some_and(|e| e.flags().dnssec_ok);
        match self.upstream.ask(question, dnssec).await {
            Ok(answer) => {
                response.metadata.response_code = answer.metadata.response_code;
                response.metadata.authentic_data = answer.metadata.authentic_data;
                response.add_answers(answer.answers);
                response.add_authorities(answer.authorities);
                response.add_additionals(answer.additionals);
            }
            Err(error) => {
                tracing::debug!(name = %question.name(), %error, "not resolved");
                response.metadata.response_code = ResponseCode::ServFail;
            }
        }
        response
    }

    async fn resolve(&self, request: &Message) -> Option<Message> {
        match self.reply(request) {
            Reply::Ready(message) => Some(*message),
            Reply::Forward { response, question } => Some(self.forward(request, *response, &question).await),
            Reply::Ignore => None,
        }
    }
}

/// A request, or the refusal of one that cannot be read; `None` for noise.
fn parse(bytes: &[u8]) -> Result<Message, Option<Box<Message>>> {
    Message::from_vec(bytes).map_err(|_| {
        // The id and the flags stand in the first four bytes; a response must never be answered.
        let header = bytes.get(..12)?;
        let is_query = header[2] & 0x80 == 0;
        let mut request = Message::query();
        request.metadata.id = u16::from_be_bytes([header[0], header[1]]);
        is_query.then(|| Box::new(response_to(&request, ResponseCode::FormErr)))
    })
}

/// Answers datagrams until shutdown. What must be asked upstream is answered by tasks, whose number [`Upstream`] bounds.
pub async fn serve_udp(server: Arc<Server>, socket: UdpSocket, shutdown: Shutdown) {
    let socket = Arc::new(socket);
    let mut buffer = vec![0; REQUEST_BYTES_MAX];
    loop {
        let received = tokio::select! {
            received = socket.recv_from(&mut buffer) => received,
            () = shutdown.requested() => return,
        };
        let (length, peer) = match received {
            Ok(received) => received,
            Err(error) => {
                // For example an ICMP refusal of an earlier answer; the socket itself goes on.
                tracing::debug!(%error, "cannot receive");
                tokio::time::sleep(ERROR_PAUSE).await;
                continue;
            }
        };
        let request = match parse(&buffer[..length]) {
            Ok(request) => request,
            Err(Some(refusal)) => {
                send(&socket, &refusal, 512, peer).await;
                continue;
            }
            Err(None) => continue,
        };
        let limit = usize::from(request.max_payload().min(UDP_BYTES_MAX));
        match server.reply(&request) {
            Reply::Ready(message) => send(&socket, &message, limit, peer).await,
            Reply::Forward { response, question } => {
                let (server, socket) = (Arc::clone(&server), Arc::clone(&socket));
                task::spawn("forward", async move {
                    let message = server.forward(&request, *response, &question).await;
                    send(&socket, &message, limit, peer).await;
                });
            }
            Reply::Ignore => {}
        }
    }
}

async fn send(socket: &UdpSocket, message: &Message, limit: usize, peer: SocketAddr) {
    let Some(bytes) = encode(message, limit) else {
        tracing::warn!(%peer, "an answer cannot be encoded");
        return;
    };
    if let Err(error) = socket.send_to(&bytes, peer).await {
        tracing::debug!(%peer, %error, "cannot answer");
    }
}

/// Answers over TCP until shutdown.
pub async fn serve_tcp(server: Arc<Server>, listener: TcpListener, shutdown: Shutdown) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.requested() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let server = Arc::clone(&server);
                task::spawn("tcp", async move {
                    if let Err(error) = converse(&server, stream).await {
                        tracing::debug!(%peer, %error, "a TCP conversation broke");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ERROR_PAUSE).await;
            }
        }
    }
}

async fn converse(server: &Server, mut stream: TcpStream) -> std::io::Result<()> {
    loop {
        // A client that says nothing more is done.
        let Ok(Ok(length)) = timeout(IDLE, stream.read_u16()).await else { return Ok(()) };
        let mut buffer = vec![0; usize::from(length)];
        timeout(IDLE, stream.read_exact(&mut buffer)).await??;
        let answer = match parse(&buffer) {
            Ok(request) => server.resolve(&request).await,
            Err(refusal) => refusal.map(|r| *r),
        };
        let Some(bytes) = answer.and_then(|message| encode(&message, usize::from(u16::MAX))) else { return Ok(()) };
        let Ok(length) = u16::try_from(bytes.len()) else { return Ok(()) };
        timeout(IDLE, stream.write_all(&[&length.to_be_bytes()[..], &bytes].concat())).await??;
    }
}

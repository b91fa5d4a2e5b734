//! Names that are not the cluster's: asked upstream, remembered for a while, never more at once than a bound.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::{RData, Record, RecordType};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::respond::{UDP_BYTES_MAX, plain};

/// How long one server may take.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Rounds over all servers.
const ROUNDS: usize = 2;
/// Questions on their way at once; more are answered with a failure, which clients repeat.
const MAX_IN_FLIGHT: usize = 1000;
/// Remembered answers.
const MAX_ENTRIES: usize = 10_000;
/// The longest an answer is remembered, in seconds, whatever its TTL.
const MAX_TTL: u32 = 3600;
/// The longest the absence of an answer is remembered, in seconds.
const MAX_NEGATIVE_TTL: u32 = 30;

/// Why upstream gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// None is configured.
    #[error("no upstream resolver is configured")]
    NoServer,
    /// Too many questions are on their way.
    #[error("{MAX_IN_FLIGHT} questions are on their way already")]
    Busy,
    /// No server answered.
    #[error("none of the upstream resolvers answered")]
    Silent,
}

type Question = (String, RecordType, bool);

struct Entry {
    message: Message,
    stored: Instant,
    ttl: u32,
}

#[derive(Default)]
struct Cache {
    entries: HashMap<Question, Entry>,
    order: VecDeque<Question>,
}

/// The upstream resolvers.
pub struct Upstream {
    servers: Vec<SocketAddr>,
    in_flight: Semaphore,
    cache: Mutex<Cache>,
}

impl Upstream {
    /// Asks these servers in this order.
    #[must_use]
    pub fn new(servers: Vec<SocketAddr>) -> Self {
        Self { servers, in_flight: Semaphore::new(MAX_IN_FLIGHT), cache: Mutex::default() }
    }

    /// The answer's sections and code; id and flags are the caller's business.
    ///
    /// # Errors
    /// When there is no server, too much to do, or no answer in time.
    pub async fn ask(&self, question: &Query, dnssec: bool) -> Result<Message, Error> {
        let key = (plain(question.name()), question.query_type(), dnssec);
        if let Some(known) = self.remembered(&key) {
            return Ok(known);
        }
        if self.servers.is_empty() {
            return Err(Error::NoServer);
        }
        let _permit = self.in_flight.try_acquire().map_err(|_| Error::Busy)?;
        for server in std::iter::repeat_n(&self.servers, ROUNDS).flatten() {
            match timeout(TIMEOUT, ask_server(*server, question, dnssec)).await {
                Ok(Ok(message)) if message.metadata.response_code != ResponseCode::ServFail => {
                    self.remember(key, &message);
                    return Ok(message);
                }
                Ok(Ok(_)) => tracing::debug!(%server, name = key.0, "upstream failed"),
                Ok(Err(error)) => tracing::debug!(%server, %error, name = key.0, "cannot ask upstream"),
                Err(_) => tracing::debug!(%server, name = key.0, "upstream is silent"),
            }
        }
        Err(Error::Silent)
    }

    fn remembered(&self, key: &Question) -> Option<Message> {
        let cache = self.cache.lock();
        let entry = cache.entries.get(key)?;
        let age = u32::try_from(entry.stored.elapsed().as_secs()).unwrap_or(u32::MAX);
        if age >= entry.ttl {
            return None;
        }
        let mut message = entry.message.clone();
        for record in message.answers.iter_mut().chain(&mut message.authorities).chain(&mut message.additionals) {
            record.decrement_ttl(age.min(record.ttl));
        }
        Some(message)
    }

    fn remember(&self, key: Question, message: &Message) {
        let Some(ttl) = lifetime(message).filter(|ttl| *ttl > 0) else { return };
        let mut cache = self.cache.lock();
        let entry = Entry { message: message.clone(), stored: Instant::now(), ttl };
        if cache.entries.insert(key.clone(), entry).is_none() {
            cache.order.push_back(key);
        }
        while cache.entries.len() > MAX_ENTRIES {
            let Some(oldest) = cache.order.pop_front() else { return };
            cache.entries.remove(&oldest);
        }
    }
}

/// How long a message may be remembered, in seconds; `None` for one that says nothing lasting.
fn lifetime(message: &Message) -> Option<u32> {
    let shortest = |records: &[Record]| records.iter().map(|r| r.ttl).min();
    match message.metadata.response_code {
        ResponseCode::NoError if !message.answers.is_empty() => shortest(&message.answers).map(|ttl| ttl.min(MAX_TTL)),
        // The absence lasts as long as the SOA says (RFC 2308).
        ResponseCode::NoError | ResponseCode::NXDomain => {
            let soa = message.authorities.iter().find_map(|r| match &r.data {
                RData::SOA(soa) => Some(r.ttl.min(soa.minimum)),
                _ => None,
            });
            soa.map(|ttl| ttl.min(MAX_NEGATIVE_TTL))
        }
        _ => None,
    }
}

/// One question to one server, over UDP, and over TCP when the answer was cut.
async fn ask_server(server: SocketAddr, question: &Query, dnssec: bool) -> std::io::Result<Message> {
    let mut request = Message::query();
    request.metadata.recursion_desired = true;
    request.add_query(question.clone());
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_BYTES_MAX).set_dnssec_ok(dnssec);
    request.set_edns(edns);
    let bytes = request.to_vec().map_err(invalid)?;
    let any = if server.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::from([0_u8; 16]) };
    // A fresh socket per question: its random port is half of what keeps forged answers out.
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    socket.connect(server).await?;
    socket.send(&bytes).await?;
    let mut buffer = vec![0; usize::from(UDP_BYTES_MAX).max(4096)];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let Ok(answer) = Message::from_vec(&buffer[..length]) else { continue };
        if !answers(&answer, &request) {
            continue;
        }
        if answer.metadata.truncation {
            return over_tcp(server, &request, &bytes).await;
        }
        return Ok(answer);
    }
}

async fn over_tcp(server: SocketAddr, request: &Message, bytes: &[u8]) -> std::io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(bytes.len()).map_err(invalid)?;
    stream.write_all(&[&length.to_be_bytes(), bytes].concat()).await?;
    let length = stream.read_u16().await?;
    let mut buffer = vec![0; usize::from(length)];
    stream.read_exact(&mut buffer).await?;
    let answer = Message::from_vec(&buffer).map_err(invalid)?;
    if answers(&answer, request) { Ok(answer) } else { Err(invalid("the answer is to another question")) }
}

fn answers(answer: &Message, request: &Message) -> bool {
    answer.metadata.id == request.metadata.id && answer.queries == request.queries
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, error)
}

/// The name servers that a resolv.conf lists.
#[must_use]
pub fn parse_resolv_conf(text: &str) -> Vec<IpAddr> {
    let lines = text.lines().map(|l| l.split(['#', ';']).next().unwrap_or_default());
    lines.filter_map(|l| l.trim().strip_prefix("nameserver")?.trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_is_read_and_comments_are_not() {
        let text = "# nameserver 1.1.1.1\nsearch a.b\nnameserver 8.8.8.8 # here\n nameserver\t9.9.9.9\nnameserver fe80::1%eth0\n";
        let expected: Vec<IpAddr> = ["8.8.8.8", "9.9.9.9"].iter().map(|a| a.parse().expect("an address")).collect();
        assert_eq!(parse_resolv_conf(text), expected);
    }

    #[tokio::test]
    async fn without_a_server_there_is_no_answer() {
        let question = Query::query(hickory_proto::rr::Name::from_ascii("a.").expect("a name"), RecordType::A);
        assert!(matches!(Upstream::new(Vec::new()).ask(&question, false).await, Err(Error::NoServer)));
    }
}

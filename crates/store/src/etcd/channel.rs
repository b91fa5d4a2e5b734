//! The way to one etcd: an HTTP/2 connection that is made when it is needed, and made anew when it is gone.
//!
//! tonic's own channel hands each call to one task, that to a second and a third, and each answer comes back through a task of its
//! own. Here a call writes to the connection itself and waits for its own answer: one task, the connection's, is woken for it.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use futures::future::BoxFuture;
use gantry_common::settled::Settled;
use gantry_common::{error_chain, task};
use h2::client::SendRequest;
use h2::{PingPong, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri};
use http_body::{Body as _, Frame};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tonic::Status;
use tonic::body::Body;
use tower_service::Service;

use super::pong::Unhurried;
use super::{CONNECT_TIMEOUT, CONNECTION_WINDOW_BYTES, PING_EVERY, PING_TIMEOUT, STREAM_WINDOW_BYTES};

const DEFAULT_PORT: u16 = 2379;

/// Bytes taken from the kernel at once. rustls by itself takes 4 KiB, and one answer after the other is behind it.
const READ_BYTES: usize = 64 << 10;

/// A way to one etcd. Cheap to clone; all clones share one connection.
#[derive(Clone)]
pub(super) struct Channel(Arc<Way>);

struct Way {
    /// Scheme, host and port.
    uri: Uri,
    end: End,
    connection: Mutex<Option<Connection>>,
    /// Held while one is made.
    connecting: tokio::sync::Mutex<()>,
}

/// What the other end listens on.
enum End {
    Plain,
    Tls(TlsConnector, ServerName<'static>),
    /// A unix socket: who may open the file may talk to etcd.
    Socket(PathBuf),
}

/// What stands before a socket's path in a URL.
pub(super) const SOCKET_SCHEME: &str = "unix://";

/// A connection that others may use, too.
#[derive(Clone)]
struct Connection {
    requests: SendRequest<Bytes>,
    /// Ends with the connection.
    ended: Arc<tokio::sync::watch::Receiver<bool>>,
    read: Read,
}

/// Streams that have been read to their end, or to that of their only message. Whoever lets one go wakes the connection's task, in
/// the middle of an answer and for nothing; here they wait until it runs anyway, and their trailers have come.
type Read = Arc<Mutex<Vec<RecvStream>>>;

/// So many wait for their trailers at most. They follow the message at once; where they do not, the oldest is cancelled.
const UNENDED_MAX: usize = 4_096;

/// Lets go of what has ended.
fn release(read: &Read) {
    let mut read = read.lock();
    let surplus = read.len().saturating_sub(UNENDED_MAX);
    let mut nth = 0;
    let ended: Vec<_> = read
        .extract_if(.., |stream| {
            nth += 1;
            nth <= surplus || has_ended(stream)
        })
        .collect();
    // Each takes the connection's own lock, which a task may hold that wants this one.
    drop(read);
    drop(ended);
}

/// Whether nothing more comes; what has come behind the message is passed over.
fn has_ended(stream: &mut RecvStream) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    loop {
        match stream.poll_data(&mut context) {
            Poll::Ready(Some(Ok(data))) => drop(stream.flow_control().release_capacity(data.len())),
            Poll::Ready(Some(Err(_))) => return true,
            Poll::Ready(None) => return stream.poll_trailers(&mut context).is_ready(),
            Poll::Pending => return false,
        }
    }
}

/// Services whose calls are answered with one message. Their server (grpc-go's handler of unary calls) sends it when the call
/// has succeeded, and after it nothing but the trailers that say so: what is there already need not wait for them.
const UNARY: &str = "/etcdserverpb.KV/";

/// How much of the only message of an answer there is.
#[derive(Default)]
struct Message {
    /// The prefix of a message: whether it is compressed, and its length (gRPC over HTTP/2, "Length-Prefixed-Message").
    prefix: [u8; 5],
    bytes: usize,
}

impl Message {
    fn pass(&mut self, data: &[u8]) {
        let known = self.bytes.min(self.prefix.len());
        let more = data.len().min(self.prefix.len() - known);
        self.prefix[known..known + more].copy_from_slice(&data[..more]);
        self.bytes += data.len();
    }

    fn is_whole(&self) -> bool {
        let [_, length @ ..] = self.prefix;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        self.bytes >= self.prefix.len() && self.bytes - self.prefix.len() >= length
    }
}

/// What a call that has succeeded ends with.
fn succeeded() -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))])
}

impl Connection {
    fn is_open(&self) -> bool {
        !*self.ended.borrow() && self.ended.has_changed().is_ok()
    }
}

/// Something is wrong with the connection.
fn unavailable(doing: &str, error: impl std::error::Error + Send + Sync + 'static) -> Status {
    let mut status = Status::unavailable(format!("{doing}: {}", error_chain(&error)));
    status.set_source(Arc::new(error));
    status
}

impl Channel {
    /// A way to the etcd at `url`; nothing is sent yet.
    ///
    /// # Errors
    /// Why the URL cannot be used.
    pub(super) fn new(url: &str, tls: Option<ClientConfig>) -> Result<Self, String> {
        let (uri, end) = match (url.strip_prefix(SOCKET_SCHEME), tls) {
            (Some(""), _) => {
                return Err(format!("endpoint {url}: there is no path in it, as in unix:///run/etcd.sock"));
            }
            (Some(path), _) => (Uri::from_static("http://localhost"), End::Socket(path.into())),
            (None, tls) => {
                let uri: Uri = url.parse().map_err(|error| format!("endpoint {url}: {error}"))?;
                let host = uri.host().ok_or_else(|| format!("endpoint {url}: there is no host in it"))?;
                let name = || ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
                let end = match tls {
                    None => End::Plain,
                    Some(config) => End::Tls(
                        TlsConnector::from(Arc::new(config)),
                        name().map_err(|error| format!("endpoint {url}: {error}"))?,
                    ),
                };
                (uri, end)
            }
        };
        Ok(Self(Arc::new(Way { uri, end, connection: Mutex::default(), connecting: tokio::sync::Mutex::default() })))
    }
}

impl Way {
    fn open(&self) -> Option<Connection> {
        self.connection.lock().clone().filter(Connection::is_open)
    }

    async fn connection(&self) -> Result<Connection, Status> {
        if let Some(open) = self.open() {
            return Ok(open);
        }
        let _turn = self.connecting.lock().await;
        if let Some(open) = self.open() {
            return Ok(open);
        }
        let made = match tokio::time::timeout(CONNECT_TIMEOUT, self.connect()).await {
            Ok(made) => made?,
            Err(elapsed) => return Err(unavailable("connecting to etcd", elapsed)),
        };
        *self.connection.lock() = Some(made.clone());
        Ok(made)
    }

    /// A connection that takes a call now. One may be open and take none any more: its stream ids are used up (2^30 calls), or
    /// the other end has said that it goes and waits for the streams that there are. Those go on; calls get a new one.
    async fn ready(&self) -> Result<(SendRequest<Bytes>, Read), Status> {
        let connection = self.connection().await?;
        if let Ok(requests) = connection.requests.clone().ready().await {
            return Ok((requests, connection.read));
        }
        self.forget(&connection);
        let connection = self.connection().await?;
        let requests = connection.requests.ready().await.map_err(failed)?;
        Ok((requests, connection.read))
    }

    /// Leaves a connection to the streams that it has, unless another has taken its place already.
    fn forget(&self, full: &Connection) {
        let mut present = self.connection.lock();
        let is_present = |present: &mut Connection| Arc::ptr_eq(&present.ended, &full.ended);
        let forgotten = present.take_if(is_present);
        drop(present);
        drop(forgotten);
    }

    async fn connect(&self) -> Result<Connection, Status> {
        const DOING: &str = "connecting to etcd";
        let failed = |error| unavailable(DOING, error);
        match &self.end {
            End::Socket(path) => shake_hands(UnixStream::connect(path).await.map_err(failed)?).await,
            End::Plain => shake_hands(self.dial().await.map_err(failed)?).await,
            End::Tls(connector, name) => {
                let stream = BufReader::with_capacity(READ_BYTES, self.dial().await.map_err(failed)?);
                shake_hands(connector.connect(name.clone(), stream).await.map_err(failed)?).await
            }
        }
    }

    async fn dial(&self) -> std::io::Result<TcpStream> {
        let host = self.uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let stream = TcpStream::connect((host, self.uri.port_u16().unwrap_or(DEFAULT_PORT))).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn call(&self, mut request: Request<Body>) -> Result<Response<Body>, Status> {
        let to = std::mem::take(request.uri_mut());
        let mut parts = self.uri.clone().into_parts();
        parts.path_and_query = to.into_parts().path_and_query;
        *request.uri_mut() = Uri::from_parts(parts).map_err(|error| Status::internal(error.to_string()))?;
        let (mut requests, read) = self.ready().await?;
        let (head, body) = request.into_parts();
        let message = head.uri.path().starts_with(UNARY).then(Message::default);
        let is_whole = body.is_end_stream();
        let (answer, stream) = requests.send_request(Request::from_parts(head, ()), is_whole).map_err(failed)?;
        if !is_whole {
            send(body, stream).await?;
        }
        let answer = answer.await.map_err(failed)?;
        Ok(answer.map(|stream| Body::new(Answer { stream: Some(stream), message, is_read: false, read })))
    }
}

fn failed(error: h2::Error) -> Status {
    unavailable("calling etcd", error)
}

/// Sends what there is of a body; what comes later is sent by a task of its own.
async fn send(body: Body, stream: SendStream<Bytes>) -> Result<(), Status> {
    let mut sending = Box::pin(send_all(body, stream));
    match futures::poll!(sending.as_mut()) {
        Poll::Ready(sent) => sent,
        Poll::Pending => {
            drop(task::spawn("etcd-request", sending));
            Ok(())
        }
    }
}

/// Requests are small or come piece by piece, and etcd refuses large ones: what its window has no room for waits in memory.
async fn send_all(mut body: Body, mut stream: SendStream<Bytes>) -> Result<(), Status> {
    let mut next = std::pin::pin!(std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)));
    // Kept until it is known whether it is the last: an end that comes by itself is a record and a write more.
    let mut kept: Option<Bytes> = None;
    loop {
        let frame = match futures::poll!(next.as_mut()) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                if let Some(data) = kept.take() {
                    stream.send_data(data, false).map_err(failed)?;
                }
                next.as_mut().await
            }
        };
        let Some(frame) = frame else {
            return stream.send_data(kept.unwrap_or_default(), true).map_err(failed);
        };
        if let Ok(data) = frame?.into_data()
            && let Some(before) = kept.replace(data)
        {
            stream.send_data(before, false).map_err(failed)?;
        }
    }
}

/// Begins HTTP/2 and keeps the connection going.
async fn shake_hands<T>(stream: T) -> Result<Connection, Status>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(STREAM_WINDOW_BYTES).initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    let (requests, mut connection) = builder.handshake::<_, Bytes>(Unhurried::new(stream)).await.map_err(failed)?;
    let pings = connection.ping_pong();
    let read = Read::default();
    // Not held here: the connection ends when nobody else has a part of it.
    let finished = Arc::downgrade(&read);
    let served = Settled::new(std::future::poll_fn(move |context| {
        if let Some(read) = finished.upgrade() {
            release(&read);
        }
        Pin::new(&mut connection).poll(context)
    }));
    let (end, ended) = tokio::sync::watch::channel(false);
    drop(task::spawn("etcd-connection", async move {
        let is_dead = async {
            match pings {
                Some(pings) => unanswered(pings).await,
                None => std::future::pending().await,
            }
        };
        let why = tokio::select! {
            closed = served => closed.err().map(|error| error_chain(&error)),
            () = is_dead => Some(format!("no answer to a ping for {PING_TIMEOUT:?}")),
        };
        end.send_replace(true);
        tracing::debug!(why, "the connection to etcd has ended");
    }));
    Ok(Connection { requests, ended: Arc::new(ended), read })
}

/// Ends when the other end does not answer.
async fn unanswered(mut pings: PingPong) {
    loop {
        tokio::time::sleep(PING_EVERY).await;
        match tokio::time::timeout(PING_TIMEOUT, pings.ping(h2::Ping::opaque())).await {
            Ok(Ok(_)) => {}
            // The connection itself says what is wrong with it.
            Ok(Err(_)) => return std::future::pending().await,
            Err(_) => return,
        }
    }
}

/// The body of an answer.
struct Answer {
    /// `None` once this is dropped.
    stream: Option<RecvStream>,
    /// Of an answer that has one message.
    message: Option<Message>,
    /// Only trailers are left.
    is_read: bool,
    read: Read,
}

impl Drop for Answer {
    fn drop(&mut self) {
        // A stream that has not ended is cancelled by letting it go.
        let is_read = self.message.as_ref().is_some_and(Message::is_whole);
        if let Some(stream) = self.stream.take_if(|stream| is_read || stream.is_end_stream()) {
            self.read.lock().push(stream);
        }
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Self { stream, message, is_read, .. } = &mut *self;
        let Some(stream) = stream else { return Poll::Ready(None) };
        if !*is_read {
            if message.as_ref().is_some_and(Message::is_whole) {
                *is_read = true;
                return Poll::Ready(Some(Ok(Frame::trailers(succeeded()))));
            }
            match ready!(stream.poll_data(context)) {
                Some(Ok(data)) => {
                    // The window is for what nobody has taken.
                    drop(stream.flow_control().release_capacity(data.len()));
                    if let Some(message) = message {
                        message.pass(&data);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(failed(error)))),
                None => *is_read = true,
            }
        }
        if message.as_ref().is_some_and(Message::is_whole) {
            return Poll::Ready(None);
        }
        let trailers: Option<HeaderMap> = ready!(stream.poll_trailers(context)).map_err(failed)?;
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.as_ref().is_none_or(RecvStream::is_end_stream)
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = tonic::codegen::StdError;
    type Future = BoxFuture<'static, Result<Response<Body>, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let way = self.0.clone();
        Box::pin(async move { way.call(request).await.map_err(Into::into) })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// An empty message of gRPC.
    const MESSAGE: &[u8] = &[0; 5];

    /// A connection to a server that answers every request with a message and trailers, and tells when it is closed.
    async fn connected() -> (Connection, tokio::task::JoinHandle<usize>) {
        let (near, far) = tokio::io::duplex(1 << 16);
        let server = task::spawn("server", async move {
            let mut connection = h2::server::handshake(far).await.unwrap();
            let mut served = 0;
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                stream.send_data(Bytes::from_static(MESSAGE), false).unwrap();
                stream.send_trailers(HeaderMap::new()).unwrap();
                served += 1;
            }
            served
        });
        (shake_hands(near).await.unwrap(), server)
    }

    async fn call(connection: &Connection) -> Answer {
        let mut requests = connection.requests.clone().ready().await.unwrap();
        let (answer, _) = requests.send_request(Request::new(()), true).unwrap();
        Answer {
            stream: Some(answer.await.unwrap().into_body()),
            message: None,
            is_read: false,
            read: connection.read.clone(),
        }
    }

    async fn read(mut answer: Answer) -> usize {
        let mut frames = 0;
        while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut answer).poll_frame(context)).await {
            frame.unwrap();
            frames += 1;
        }
        assert!(answer.is_end_stream());
        frames
    }

    #[tokio::test]
    async fn streams_that_were_read_are_let_go_and_do_not_keep_the_connection() {
        let (connection, server) = connected().await;
        for _ in 0..100 {
            assert_eq!(read(call(&connection).await).await, 2);
            assert!(connection.read.lock().len() <= 1, "the one before went when the connection's task ran");
        }
        assert_eq!(connection.read.lock().len(), 1);
        drop(connection);
        // Far less than the next ping takes, which would end the connection, too.
        let served = tokio::time::timeout(Duration::from_secs(5), server).await.expect("closed").unwrap();
        assert_eq!(served, 100);
    }

    #[tokio::test]
    async fn calls_leave_a_connection_that_takes_none_any_more_to_its_streams() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let accepted = Arc::new(Mutex::new(0));
        let count = accepted.clone();
        // Each connection takes one call, answers it with a stream that does not end, and says that it goes.
        task::spawn("server", async move {
            while let Ok((stream, _)) = listener.accept().await {
                *count.lock() += 1;
                task::spawn("connection", async move {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    let (_, mut respond) = connection.accept().await.unwrap().unwrap();
                    let stream = respond.send_response(Response::new(()), false).unwrap();
                    connection.graceful_shutdown();
                    while let Some(Ok(_)) = connection.accept().await {}
                    drop(stream);
                });
            }
        });
        let mut channel = Channel::new(&url, None).unwrap();
        let mut answers = Vec::new();
        for expected in 1..=3 {
            let request = Request::builder().uri("/etcdserverpb.KV/Txn").body(Body::default()).unwrap();
            answers.push(channel.call(request).await.unwrap());
            assert_eq!(*accepted.lock(), expected);
            let open = channel.0.open().unwrap();
            // Until the other end's word has come.
            let told = async {
                while open.requests.clone().ready().await.is_ok() {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(5), told).await.expect("a GOAWAY");
            assert!(open.is_open(), "its stream goes on");
        }
    }

    #[tokio::test]
    async fn an_only_message_does_not_wait_for_its_trailers() {
        let (near, far) = tokio::io::duplex(1 << 16);
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let server = task::spawn("server", async move {
            let mut connection = h2::server::handshake(far).await.unwrap();
            let (_, mut respond) = connection.accept().await.unwrap().unwrap();
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream.send_data(Bytes::from_static(&[0, 0, 0, 0, 6, b'm', b'e']), false).unwrap();
            stream.send_data(Bytes::from_static(b"ssag"), false).unwrap();
            tokio::select! {
                _ = ended => {}
                _ = connection.accept() => panic!("there is no other call"),
            }
            // A stream that was cancelled takes no trailers.
            stream.send_trailers(HeaderMap::new()).unwrap();
            while let Some(Ok(_)) = connection.accept().await {}
        });
        let connection = shake_hands(near).await.unwrap();
        let mut answer = call(&connection).await;
        answer.message = Some(Message::default());
        let mut frames = Vec::new();
        while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut answer).poll_frame(context)).await {
            frames.push(frame.unwrap());
        }
        assert_eq!(frames.pop().unwrap().into_trailers().unwrap()["grpc-status"], "0");
        let data: Vec<u8> = frames.into_iter().flat_map(|frame| frame.into_data().unwrap()).collect();
        assert_eq!(data, b"\0\0\0\0\x06messag");
        drop(answer);
        release(&connection.read);
        assert_eq!(connection.read.lock().len(), 1, "its trailers have not come");
        end.send(()).unwrap();
        let released = async {
            while !connection.read.lock().is_empty() {
                release(&connection.read);
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), released).await.expect("trailers");
        drop(connection);
        server.await.unwrap();
    }

    #[tokio::test]
    async fn what_ends_without_a_message_says_why() {
        let (near, far) = tokio::io::duplex(1 << 16);
        task::spawn("server", async move {
            let mut connection = h2::server::handshake(far).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                stream.send_data(Bytes::from_static(&[0, 0, 0, 0, 6, b'm', b'e']), false).unwrap();
                stream
                    .send_trailers(HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), 13.into())]))
                    .unwrap();
            }
        });
        let connection = shake_hands(near).await.unwrap();
        let mut answer = call(&connection).await;
        answer.message = Some(Message::default());
        let mut last = None;
        while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut answer).poll_frame(context)).await {
            last = Some(frame.unwrap());
        }
        assert_eq!(last.unwrap().into_trailers().unwrap()["grpc-status"], "13");
    }

    #[tokio::test]
    async fn a_stream_that_was_not_read_is_cancelled() {
        let (connection, _server) = connected().await;
        drop(call(&connection).await);
        assert!(connection.read.lock().is_empty());
    }
}

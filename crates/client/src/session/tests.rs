//! Against a server that plays the API server's end.

use std::{net::SocketAddr, pin::Pin};

use futures::Stream;
use gantry_api::status::{Cause, Details};
use gantry_common::task;
use gantry_proto::v1::{
    ExecRequest, LogChunk, LogRequest,
    sessions_server::{Sessions, SessionsServer},
};
use tokio::{net::TcpListener, sync::oneshot};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Streaming, transport::Server};

use super::*;
use crate::Config;

type Frames = Pin<Box<dyn Stream<Item = Result<SessionFrame, tonic::Status>> + Send>>;
type Chunks = Pin<Box<dyn Stream<Item = Result<LogChunk, tonic::Status>> + Send>>;

/// Says hello and echoes until `end`; tells on `gone` when the client has broken off.
struct Echo {
    gone: parking_lot::Mutex<Option<oneshot::Sender<()>>>,
}

fn frame(frame: Frame) -> SessionFrame {
    SessionFrame { frame: Some(frame) }
}

async fn serve_one(
    mut from_client: Streaming<SessionFrame>,
    to_client: mpsc::Sender<Result<SessionFrame, tonic::Status>>,
    gone: Option<oneshot::Sender<()>>,
) {
    let first = from_client.message().await.expect("alive").and_then(|f| f.frame);
    let Some(Frame::Open(OpenSession { kind: Some(Kind::Exec(exec)), .. })) = first else {
        panic!("the first frame is {first:?}")
    };
    if exec.pod == "none" {
        let status = Status::failure(404, "NotFound", "pods \"none\" not found");
        let details = serde_json::to_vec(&status).expect("it serialises");
        let refusal = tonic::Status::with_details(tonic::Code::NotFound, &status.message, details.into());
        drop(to_client.send(Err(refusal)).await);
        return;
    }
    to_client.send(Ok(frame(Frame::Hello("id".to_owned())))).await.expect("the client waits");
    loop {
        match from_client.message().await {
            Ok(Some(SessionFrame { frame: Some(Frame::Data(bytes)) })) => {
                assert!(bytes.len() <= DATA_BYTES_MAX, "{} bytes in one frame", bytes.len());
                if to_client.send(Ok(frame(Frame::Data(bytes)))).await.is_err() {
                    break;
                }
            }
            Ok(Some(SessionFrame { frame: Some(Frame::Resize(size)) })) => {
                let text = format!("{}x{}", size.width, size.height);
                to_client.send(Ok(frame(Frame::Stderr(text.into())))).await.expect("the client reads");
            }
            Ok(Some(SessionFrame { frame: Some(Frame::End(_)) })) if exec.pod == "vanishes" => return,
            Ok(Some(SessionFrame { frame: Some(Frame::End(_)) })) => {
                to_client.send(Ok(frame(Frame::End(SessionEnd {})))).await.expect("the client reads");
                let status = serde_json::to_vec(&failed(7)).expect("it serialises");
                to_client.send(Ok(frame(Frame::Status(status.into())))).await.expect("the client reads");
            }
            _ => break,
        }
    }
    if let Some(gone) = gone {
        gone.send(()).expect("the test waits");
    }
}

#[tonic::async_trait]
impl Sessions for Echo {
    type LogStream = Chunks;
    type OpenStream = Frames;

    async fn log(&self, request: Request<LogRequest>) -> Result<Response<Chunks>, tonic::Status> {
        let pod = request.into_inner().pod;
        let chunks = [Ok(LogChunk { data: pod.into() }), Ok(LogChunk { data: "\n".into() })];
        Ok(Response::new(Box::pin(tokio_stream::iter(chunks))))
    }

    async fn open(&self, request: Request<Streaming<SessionFrame>>) -> Result<Response<Frames>, tonic::Status> {
        let (sender, receiver) = mpsc::channel(1);
        task::spawn("session", serve_one(request.into_inner(), sender, self.gone.lock().take()));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

fn failed(code: i32) -> Status {
    let cause = Cause { reason: "ExitCode".to_owned(), message: code.to_string(), field: String::new() };
    Status {
        details: Some(Details { causes: vec![cause], ..Details::default() }),
        ..Status::failure(500, "NonZeroExitCode", format!("command terminated with exit code {code}"))
    }
}

async fn server() -> (SocketAddr, oneshot::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (gone, told) = oneshot::channel();
    let echo = Echo { gone: parking_lot::Mutex::new(Some(gone)) };
    task::spawn("server", async move {
        let server = Server::builder().add_service(SessionsServer::new(echo));
        server.serve_with_incoming(TcpListenerStream::new(listener)).await.expect("it serves");
    });
    (address, told)
}

/// The server speaks without TLS; the client wants a CA all the same.
pub(crate) fn any_ca() -> Vec<u8> {
    let key = rcgen::KeyPair::generate().expect("a key");
    rcgen::CertificateParams::default().self_signed(&key).expect("a certificate").pem().into_bytes()
}

fn client(address: SocketAddr) -> Client {
    Client::new(&Config {
        servers: vec![format!("http://{address}")],
        ca_pem: any_ca(),
        tls_server_name: None,
        identity: None,
        token: None,
        user_agent: "test/1".to_owned(),
    })
    .expect("a client")
}

fn exec(pod: &str) -> Kind {
    Kind::Exec(ExecRequest { pod: pod.to_owned(), ..ExecRequest::default() })
}

#[tokio::test]
async fn data_goes_in_pieces_and_the_result_is_the_last_word() {
    let (address, _gone) = server().await;
    let (input, mut output) = client(address).open_session(exec("p")).await.expect("accepted");
    let sent = Bytes::from(vec![7_u8; DATA_BYTES_MAX * 20 + 3]);
    let writer = task::spawn("writer", {
        let sent = sent.clone();
        async move {
            input.resize(80, 24).await.expect("open");
            input.data(sent).await.expect("open");
            input.end().await.expect("open");
        }
    });
    assert_eq!(output.next().await.expect("alive"), Event::Stderr("80x24".into()));
    let mut received = Vec::new();
    let result = loop {
        match output.next().await.expect("alive") {
            Event::Data(bytes) => received.extend_from_slice(&bytes),
            Event::Done(status) => break status,
            Event::End => assert_eq!(received.len(), sent.len(), "the end comes after the data"),
            other => panic!("{other:?}"),
        }
    };
    writer.await.expect("it wrote");
    assert_eq!(received, sent);
    assert_eq!(exit_code(&result), Some(7));
    assert!(output.next().await.is_err(), "nothing follows the result");
}

#[tokio::test]
async fn a_refusal_is_the_servers_status() {
    let (address, _gone) = server().await;
    let error = client(address).open_session(exec("none")).await.expect_err("there is no such pod");
    assert!(error.is_not_found(), "{error:?}");
    assert_eq!(error.to_string(), "pods \"none\" not found");
}

#[tokio::test]
async fn a_session_that_breaks_off_is_an_error_and_not_an_end() {
    let (address, _gone) = server().await;
    let (input, mut output) = client(address).open_session(exec("vanishes")).await.expect("accepted");
    input.end().await.expect("open");
    let error = output.next().await.expect_err("no result came");
    let chain = gantry_common::error_chain(&error);
    assert!(chain.contains("ended before the session did"), "{chain}");
}

#[tokio::test]
async fn dropping_the_output_breaks_the_session_off() {
    let (address, gone) = server().await;
    let (input, output) = client(address).open_session(exec("p")).await.expect("accepted");
    drop(output);
    gone.await.expect("the server saw it");
    // What is still written goes nowhere, and says so.
    let written = async {
        while input.data(Bytes::from_static(b"x")).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), written).await.expect("the input learns of it");
}

#[tokio::test]
async fn dropping_the_input_does_not_end_the_session() {
    let (address, _gone) = server().await;
    let (input, mut output) = client(address).open_session(exec("p")).await.expect("accepted");
    input.data(Bytes::from_static(b"last words")).await.expect("open");
    drop(input);
    assert_eq!(output.next().await.expect("alive"), Event::Data("last words".into()));
    assert!(tokio::time::timeout(Duration::from_millis(50), output.next()).await.is_err(), "it stays open");
}

#[tokio::test]
async fn a_log_comes_in_chunks() {
    let (address, _gone) = server().await;
    let request = LogRequest { pod: "web".to_owned(), ..LogRequest::default() };
    let mut log = client(address).log(request).await.expect("accepted");
    let mut text = Vec::new();
    while let Some(chunk) = log.next().await.expect("alive") {
        text.extend_from_slice(&chunk);
    }
    assert_eq!(text, b"web\n");
}

#[test]
fn exit_codes_are_read_from_results() {
    let check = |result: &Status, expected: Option<i32>| assert_eq!(exit_code(result), expected, "{result:?}");
    check(&serde_json::from_str(r#"{"metadata":{},"status":"Success"}"#).expect("a Status"), Some(0));
    check(&failed(0), Some(0));
    check(&failed(137), Some(137));
    check(&Status::failure(500, "InternalError", "no such container"), None);
    let without_code = Status { details: None, ..failed(1) };
    check(&without_code, None);
}

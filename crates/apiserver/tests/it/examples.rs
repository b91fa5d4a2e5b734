//! The examples of docs/grpc.md, run as they are.

use std::fs;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Stdio;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use gantry_apiserver::testing::{Builder, Pki};
use gantry_proto::v1::open_session::Kind;
use gantry_proto::v1::session_frame::Frame;
use gantry_proto::v1::sessions_server::{Sessions, SessionsServer};
use gantry_proto::v1::{ExecRequest, LogChunk, LogRequest, SessionFrame};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};

use crate::support::{Cluster, skip};

#[path = "../../../client/examples/exec.rs"]
mod exec;
#[path = "../../../client/examples/tour.rs"]
mod tour;

#[tokio::test]
async fn the_rust_tour_sees_what_it_does() {
    let cluster = Cluster::start().await;
    let seen = tour::tour(&cluster.admin(), "default").await.expect("the tour ends well");
    assert_eq!(
        seen,
        [
            r#"created "tour-rust""#,
            r#"read {"color":"green"}"#,
            "listed 1",
            r#"watched {"color":"blue"}"#,
            r#"failed NotFound: configmaps "tour-rust" not found"#,
        ]
    );
}

/// Plays API server and node: answers a command with its input, its words and exit code 7.
struct Echo;

#[tonic::async_trait]
impl Sessions for Echo {
    type LogStream = Pin<Box<dyn Stream<Item = Result<LogChunk, Status>> + Send>>;
    type OpenStream = Pin<Box<dyn Stream<Item = Result<SessionFrame, Status>> + Send>>;

    async fn log(&self, _request: Request<LogRequest>) -> Result<Response<Self::LogStream>, Status> {
        Err(Status::unimplemented("commands only"))
    }

    async fn open(&self, request: Request<Streaming<SessionFrame>>) -> Result<Response<Self::OpenStream>, Status> {
        if request.metadata().get("authorization").is_none_or(|value| value != "Bearer letmein") {
            return Err(Status::unauthenticated("who calls?"));
        }
        let mut frames = request.into_inner();
        let Some(Frame::Open(open)) = frames.message().await?.and_then(|f| f.frame) else {
            return Err(Status::invalid_argument("the first frame opens the session"));
        };
        let Some(Kind::Exec(exec)) = open.kind else { return Err(Status::invalid_argument("commands only")) };
        let frame = |frame| Ok(SessionFrame { frame: Some(frame) });
        let hello = futures::stream::iter([frame(Frame::Hello("1".to_owned()))]);
        let input = futures::stream::unfold((frames, exec.stdin), move |(mut frames, reading)| async move {
            let next = if reading { frames.message().await.ok().flatten().and_then(|f| f.frame) } else { None };
            match next {
                Some(data @ Frame::Data(_)) => Some((frame(data), (frames, reading))),
                _ => None,
            }
        });
        let words = Bytes::from(exec.command.join(" "));
        let status = json!({"kind": "Status", "status": "Failure", "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": "7"}]}});
        let end = [frame(Frame::Stderr(words)), frame(Frame::Status(Bytes::from(status.to_string())))];
        Ok(Response::new(Box::pin(hello.chain(input).chain(futures::stream::iter(end)))))
    }
}

/// Serves [`Echo`] over TLS until the test ends; returns its address.
fn echo(pki: &Pki) -> String {
    gantry_common::tls::install_provider();
    let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into()).expect("a port");
    let address = incoming.local_addr().expect("bound");
    let serving = pki.serving();
    let tls = ServerTlsConfig::new().identity(Identity::from_pem(serving.cert_pem, serving.key_pem));
    let mut server = Server::builder().tls_config(tls).expect("TLS");
    let serve = server.add_service(SessionsServer::new(Echo)).serve_with_incoming(incoming);
    drop(gantry_common::task::spawn("echo", serve));
    address.to_string()
}

#[tokio::test]
async fn the_rust_exec_collects_output_and_exit_code() {
    let pki = Pki::default();
    let address = echo(&pki);
    let channel = exec::connect(&format!("https://{address}"), &pki.ca_pem()).expect("a channel");
    let command = vec!["ls".to_owned(), "/".to_owned()];
    let request = ExecRequest { command, stdout: true, stderr: true, ..ExecRequest::default() };
    let output = exec::exec(channel.clone(), "letmein", request.clone()).await.expect("it runs");
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice(), output.code), (&b""[..], &b"ls /"[..], Some(7)));
    assert_eq!(exec::exec(channel, "other", request).await.expect_err("refused").code(), tonic::Code::Unauthenticated);
}

/// The test run's Python with grpcio (see `cargo xtask test`), and a folder with the generated messages; `None` where it is missing.
async fn python(folder: &Path) -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("tmp is in the target folder");
    let python = target.join("tools/python/bin/python");
    let protos = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/proto");
    let made = Command::new(&python)
        .args(["-m", "grpc_tools.protoc", "--python_out=.", "--grpc_python_out=.", "gantry/v1/gantry.proto", "-I"])
        .arg(protos)
        .current_dir(folder)
        .output()
        .await;
    if made.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    skip("no Python with grpcio below target/tools: cargo xtask test makes it");
    None
}

/// Runs the Python example; returns exit code, output and errors.
async fn run(
    python: &Path,
    folder: &Path,
    address: &str,
    rest: &[&str],
    input: &[u8],
) -> (Option<i32>, String, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples/grpc/tour.py");
    let mut child = Command::new(python)
        .arg(script)
        .args(["--server", address, "--ca", "ca.crt", "--token", "letmein"])
        .args(rest)
        .current_dir(folder)
        .env("PYTHONPATH", folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Python runs");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input).await.expect("taken");
    drop(stdin);
    let output = child.wait_with_output().await.expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn the_python_tour_sees_what_it_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(python) = python(folder.path()).await else { return };
    let tokens = folder.path().join("tokens.csv");
    fs::write(&tokens, "letmein,alice,7,\"system:masters\"\n").expect("written");
    let cluster = Cluster::with(Builder::default().configure(|config| config.token_auth_file = Some(tokens))).await;
    fs::write(folder.path().join("ca.crt"), cluster.server.ca_pem()).expect("written");
    let address = cluster.server.url().trim_start_matches("https://").to_owned();
    let (code, out, errors) = run(&python, folder.path(), &address, &["tour"], b"").await;
    assert_eq!(code, Some(0), "{errors}");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(
        lines,
        [
            "created tour-python",
            "read {'color': 'green'}",
            "listed ['tour-python']",
            "watched EVENT_TYPE_MODIFIED {'color': 'blue'}",
            r#"failed NOT_FOUND 404 NotFound configmaps "tour-python" not found"#,
        ]
    );
}

#[tokio::test]
async fn the_python_exec_passes_input_output_and_exit_code() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(python) = python(folder.path()).await else { return };
    let pki = Pki::default();
    fs::write(folder.path().join("ca.crt"), pki.ca_pem()).expect("written");
    let address = echo(&pki);
    let (code, out, errors) =
        run(&python, folder.path(), &address, &["exec", "default/web", "--", "ls", "/"], b"some input").await;
    assert_eq!((code, out.as_str(), errors.as_str()), (Some(7), "some input", "ls /"));
}

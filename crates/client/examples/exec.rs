//! A command in a container, over the bare contract: tonic, the generated messages, the cluster's CA and a bearer token.
//!
//! `cargo run -p gantry-client --example exec -- https://HOST:PORT CA_FILE TOKEN NAMESPACE POD COMMAND...`

use gantry_proto::v1::open_session::Kind;
use gantry_proto::v1::session_frame::Frame;
use gantry_proto::v1::sessions_client::SessionsClient;
use gantry_proto::v1::{ExecRequest, OpenSession, SessionFrame};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig};
use tonic::{Request, Status};

/// What a command did.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) code: Option<i64>,
}

/// Connects; the address is used when the first call is made.
pub(crate) fn connect(server: &str, ca_pem: &str) -> Result<Channel, Box<dyn std::error::Error>> {
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca_pem));
    Ok(Channel::from_shared(server.to_owned())?.tls_config(tls)?.connect_lazy())
}

/// Runs a command without input and collects what it writes.
pub(crate) async fn exec(channel: Channel, token: &str, exec: ExecRequest) -> Result<Output, Status> {
    let (sender, frames) = mpsc::channel(8);
    let open = OpenSession { kind: Some(Kind::Exec(exec)), ..OpenSession::default() };
    // There is room for the first frame. The sender is kept: the session ends when the client's side does.
    drop(sender.try_send(SessionFrame { frame: Some(Frame::Open(open)) }));
    let mut request = Request::new(ReceiverStream::new(frames));
    let bearer =
        format!("Bearer {token}").parse().map_err(|_| Status::invalid_argument("a token is printable text"))?;
    request.metadata_mut().insert("authorization", bearer);
    let mut answers = SessionsClient::new(channel).open(request).await?.into_inner();
    let mut output = Output::default();
    while let Some(answer) = answers.message().await? {
        match answer.frame {
            Some(Frame::Data(bytes)) => output.stdout.extend(bytes),
            Some(Frame::Stderr(bytes)) => output.stderr.extend(bytes),
            Some(Frame::Status(status)) => {
                output.code = exit_code(&serde_json::from_slice(&status).unwrap_or_default());
                break;
            }
            _ => {}
        }
    }
    drop(sender);
    Ok(output)
}

/// 0 for Success; the cause ExitCode of a command that ended otherwise; nothing when it could not run to its end.
fn exit_code(status: &Value) -> Option<i64> {
    if status["status"] == "Success" {
        return Some(0);
    }
    let causes = status["details"]["causes"].as_array()?;
    causes.iter().find(|cause| cause["reason"] == "ExitCode")?["message"].as_str()?.parse().ok()
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
#[allow(dead_code, reason = "tests call the parts")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().unwrap_or_default();
    let (server, ca, token, namespace, pod) = (next(), next(), next(), next(), next());
    let channel = connect(&server, &std::fs::read_to_string(ca)?)?;
    let command = arguments.collect();
    let request = ExecRequest { namespace, pod, command, stdout: true, stderr: true, ..ExecRequest::default() };
    let output = exec(channel, &token, request).await?;
    println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    std::process::exit(output.code.and_then(|code| i32::try_from(code).ok()).unwrap_or(1));
}

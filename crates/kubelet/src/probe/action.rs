//! One probe: run a command, open a connection, ask over HTTP. The texts are upstream's.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, body::Bytes};
use hyper_util::rt::TokioIo;
use k8s_openapi::{
    api::core::v1::{Container as Spec, HTTPGetAction, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};
use tokio::net::TcpStream;

use crate::{exec::Commands, runtime::Error};

/// Bytes of an HTTP answer that are read.
const BODY_BYTES: usize = 10 * 1024;

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// All is well.
    Success,
    /// It is not, and this is what was said.
    Failure(String),
    /// The probe itself did not work.
    Error(String),
}

/// What is asked.
pub(crate) struct Target<'a> {
    pub(crate) commands: &'a Arc<Commands>,
    pub(crate) id: &'a str,
    pub(crate) spec: &'a Spec,
    pub(crate) ip: Option<Ipv4Addr>,
}

impl Target<'_> {
    fn host(&self, own: Option<&str>) -> Result<String, String> {
        let own = own.filter(|host| !host.is_empty()).map(str::to_owned);
        own.or_else(|| self.ip.map(|ip| ip.to_string())).ok_or_else(|| "the pod has no address yet".to_owned())
    }

    fn port(&self, port: &IntOrString) -> Result<u16, String> {
        let number = match port {
            IntOrString::Int(number) => Some(*number),
            IntOrString::String(name) => {
                let named = self.spec.ports.iter().flatten().find(|p| p.name.as_ref() == Some(name));
                named.map(|p| p.container_port).or_else(|| name.parse().ok())
            }
        };
        let number = number.and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0);
        number.ok_or_else(|| format!("couldn't find port: {port:?}"))
    }
}

/// Asks once.
pub(super) async fn probe(target: &Target<'_>, probe: &Probe, timeout: Duration) -> Answer {
    if let Some(exec) = &probe.exec {
        return run(target, exec.command.as_deref().unwrap_or_default(), timeout).await;
    }
    if let Some(get) = &probe.http_get {
        return match http_get(target, get, timeout, "kube-probe/1.36").await {
            Ok(status) if (200..400).contains(&status) => Answer::Success,
            Ok(status) => Answer::Failure(format!("HTTP probe failed with statuscode: {status}")),
            Err(text) => Answer::Failure(text),
        };
    }
    if let Some(tcp) = &probe.tcp_socket {
        return match connect(target, tcp.host.as_deref(), &tcp.port, timeout).await {
            Ok(_) => Answer::Success,
            Err(text) => Answer::Failure(text),
        };
    }
    Answer::Error("missing probe handler: this kubelet knows exec, httpGet and tcpSocket".to_owned())
}

async fn run(target: &Target<'_>, command: &[String], timeout: Duration) -> Answer {
    match target.commands.run(target.id, command, timeout).await {
        Ok(done) if done.code == 0 => Answer::Success,
        Ok(done) => Answer::Failure(done.output.trim_end().to_owned()),
        Err(error @ Error::TimedOut { .. }) => Answer::Failure(error.to_string()),
        Err(error) => Answer::Error(gantry_common::error_chain(&error)),
    }
}

async fn connect(
    target: &Target<'_>,
    host: Option<&str>,
    port: &IntOrString,
    timeout: Duration,
) -> Result<(TcpStream, String), String> {
    let address = format!("{}:{}", target.host(host)?, target.port(port)?);
    match tokio::time::timeout(timeout, TcpStream::connect(&address)).await {
        Ok(Ok(stream)) => Ok((stream, address)),
        Ok(Err(error)) => Err(format!("dial tcp {address}: connect: {}", reason(&error))),
        Err(_) => Err(format!("dial tcp {address}: i/o timeout")),
    }
}

/// An error of the operating system without its number, as Go prints it.
fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    text.to_lowercase()
}

/// An HTTP GET; the status code.
pub(crate) async fn http_get(
    target: &Target<'_>,
    get: &HTTPGetAction,
    timeout: Duration,
    agent: &str,
) -> Result<u16, String> {
    let secure = get.scheme.as_deref() == Some("HTTPS");
    let scheme = if secure { "https" } else { "http" };
    let path = get.path.as_deref().filter(|p| !p.is_empty()).unwrap_or("/");
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let place = format!("{}:{}", target.host(get.host.as_deref())?, target.port(&get.port)?);
    let url = format!("{scheme}://{place}{path}");
    let ask = async {
        let (stream, _) = connect(target, get.host.as_deref(), &get.port, timeout).await?;
        let request = request(get, &path, &place, agent)?;
        if secure {
            let host = target.host(get.host.as_deref())?;
            send(tls(stream, &host).await?, request).await
        } else {
            send(stream, request).await
        }
    };
    match tokio::time::timeout(timeout, ask).await {
        Ok(Ok(status)) => Ok(status),
        Ok(Err(error)) => Err(format!("Get \"{url}\": {error}")),
        Err(_) => {
            Err(format!("Get \"{url}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)"))
        }
    }
}

fn request(get: &HTTPGetAction, path: &str, place: &str, agent: &str) -> Result<Request<Empty<Bytes>>, String> {
    let mut builder = Request::get(path);
    let own = |name: &str| get.http_headers.iter().flatten().any(|h| h.name.eq_ignore_ascii_case(name));
    for (name, value) in [("host", place), ("user-agent", agent), ("accept", "*/*"), ("connection", "close")] {
        if !own(name) {
            builder = builder.header(name, value);
        }
    }
    for header in get.http_headers.iter().flatten().filter(|h| !h.value.is_empty()) {
        builder = builder.header(&header.name, &header.value);
    }
    builder.body(Empty::new()).map_err(|error| error.to_string())
}

async fn send<S>(stream: S, request: Request<Empty<Bytes>>) -> Result<u16, String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let text = |error: hyper::Error| gantry_common::error_chain(&error);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(text)?;
        let status = answer.status().as_u16();
        // The body counts only in that it must not break off; what is too long is not read.
        drop(Limited::new(answer.into_body(), BODY_BYTES).collect().await);
        Ok(status)
    };
    tokio::pin!(exchange);
    tokio::select! {
        biased;
        result = &mut exchange => result,
        ended = connection => match ended {
            // The answer may have come together with the end.
            Ok(()) => exchange.await,
            Err(error) => Err(text(error)),
        },
    }
}

/// Probes ask whether a server answers, not who it is: as upstream, certificates are not verified.
async fn tls(stream: TcpStream, host: &str) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let config = gantry_common::tls::unverified_client_config(None, &[]).map_err(|e| gantry_common::error_chain(&e))?;
    let name = rustls::pki_types::ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;

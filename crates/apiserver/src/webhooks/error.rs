//! Why a webhook gave no answer, in the words of upstream's client.

use gantry_api::status::Status;

/// Why there is no usable answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The configuration names nothing that can be called.
    #[error("{0}")]
    Config(String),
    /// The CA bundle or the system's certificates cannot be used.
    #[error("unable to load root certificates")]
    Roots(#[source] gantry_common::tls::Error),
    /// Nobody can be connected to.
    #[error("{0}")]
    Dial(Status),
    /// The other end is not who it should be, or does not speak TLS.
    #[error("tls: {}", failed_handshake(.0))]
    Tls(std::io::Error),
    /// The other end stopped speaking HTTP.
    #[error("{}", broken(.0))]
    Http(hyper::Error),
    /// The connection had ended before anything of the request was written.
    #[error("{}", broken(.0))]
    Unsent(hyper::Error),
    /// The answer is too long.
    #[error("the response is larger than {0} bytes")]
    TooLarge(usize),
    /// The answer is not JSON.
    #[error("couldn't get version/kind; json parse error")]
    Json(#[source] serde_json::Error),
    /// Time is up.
    #[error("context deadline exceeded")]
    Deadline,
    /// An answer that says no.
    #[error("{}", refused(*.code, .text))]
    Refused { code: u16, text: String },
}

fn broken(error: &hyper::Error) -> String {
    if error.is_incomplete_message() { "EOF".to_owned() } else { gantry_common::error_chain(error) }
}

/// Upstream's client is Go's, whose words people search for.
fn failed_handshake(error: &std::io::Error) -> String {
    use rustls::CertificateError as Bad;
    let Some(rustls::Error::InvalidCertificate(bad)) = error.get_ref().and_then(|e| e.downcast_ref()) else {
        return format!("handshake failed: {error}");
    };
    let why = match bad {
        // A CA of the same name, too, is another one.
        Bad::UnknownIssuer | Bad::BadSignature => "certificate signed by unknown authority".to_owned(),
        Bad::Expired | Bad::ExpiredContext { .. } | Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
            "certificate has expired or is not yet valid".to_owned()
        }
        other => other.to_string(),
    };
    format!("failed to verify certificate: x509: {why}")
}

fn refused(code: u16, text: &str) -> String {
    match code {
        404 => "the server could not find the requested resource".to_owned(),
        500.. => format!("an error on the server ({text:?}) has prevented the request from succeeding"),
        _ => "the server rejected our request for an unknown reason".to_owned(),
    }
}

impl Error {
    /// Whether upstream's client would try again: a connection that was cut off, an answer that says "not now".
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Http(error) | Self::Unsent(error) => {
                let source = std::error::Error::source(error).and_then(|e| e.downcast_ref::<std::io::Error>());
                source.is_some_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset)
            }
            Self::Tls(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
            Self::Refused { code, .. } => matches!(code, 429 | 500 | 504),
            _ => false,
        }
    }

    /// The Status; `shown` is the URL that was called.
    pub(super) fn status(&self, shown: &str) -> Status {
        let text = gantry_common::error_chain(self);
        match self {
            Self::Refused { code, .. } => Status::failure((*code).max(400), "", text),
            Self::Config(_) | Self::Json(_) => Status::failure(500, "InternalError", text),
            _ => Status::unavailable(format!("Post {shown:?}: {text}")),
        }
    }
}

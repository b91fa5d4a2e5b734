//! TLS: the serving certificate and the client CA, taken up again when their files change.
//!
//! Files are looked at when a connection arrives, at most every few seconds: an idle server does nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use gantry_common::tls::{self, ReloadingCert};
use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tracing::{error, info};

use crate::auth::authenticator::Peer;
use crate::auth::certificate;

/// An accepted connection.
pub(crate) type Stream = tokio_rustls::server::TlsStream<TcpStream>;

const ALPN: &[&[u8]] = &[b"h2", b"http/1.1"];
/// The files are looked at no more often than this.
const CHECK_EVERY: Duration = Duration::from_secs(5);

struct Checked {
    at: Instant,
    changed: Vec<Option<SystemTime>>,
}

/// Makes TLS streams of TCP streams.
pub(crate) struct Acceptor {
    certificate: Arc<ReloadingCert>,
    client_ca: Option<PathBuf>,
    files: Vec<PathBuf>,
    config: ArcSwap<ServerConfig>,
    checked: Mutex<Checked>,
}

fn modified(files: &[PathBuf]) -> Vec<Option<SystemTime>> {
    files.iter().map(|f| std::fs::metadata(f).and_then(|m| m.modified()).ok()).collect()
}

fn config(certificate: Arc<ReloadingCert>, client_ca: Option<&Path>) -> Result<ServerConfig, tls::Error> {
    let roots = match client_ca {
        Some(path) => Some(tls::roots(&tls::read(path)?, &path.display().to_string())?),
        None => None,
    };
    tls::server_config(certificate, roots, ALPN)
}

impl Acceptor {
    /// Reads the files.
    pub(crate) fn new(cert_file: &Path, key_file: &Path, client_ca: Option<&Path>) -> Result<Self, tls::Error> {
        let certificate = ReloadingCert::load(cert_file, key_file)?;
        let mut files = vec![cert_file.to_owned(), key_file.to_owned()];
        files.extend(client_ca.map(Path::to_owned));
        Ok(Self {
            config: ArcSwap::from_pointee(config(certificate.clone(), client_ca)?),
            checked: Mutex::new(Checked { at: Instant::now(), changed: modified(&files) }),
            certificate,
            client_ca: client_ca.map(Path::to_owned),
            files,
        })
    }

    /// Takes up changed files; on an error the old ones stay in use.
    fn refresh(&self) {
        {
            let mut checked = self.checked.lock();
            if checked.at.elapsed() < CHECK_EVERY {
                return;
            }
            checked.at = Instant::now();
            let now = modified(&self.files);
            if now == checked.changed {
                return;
            }
            checked.changed = now;
        }
        let fresh = self.certificate.reload().and_then(|_| config(self.certificate.clone(), self.client_ca.as_deref()));
        match fresh {
            Ok(fresh) => {
                self.config.store(Arc::new(fresh));
                info!("took up changed TLS files");
            }
            Err(why) => {
                error!("changed TLS files are not usable, the old ones stay: {}", gantry_common::error_chain(&why));
            }
        }
    }

    /// Shakes hands; also gives the user of the client certificate, if one was shown.
    pub(crate) async fn accept(&self, stream: TcpStream) -> std::io::Result<(Stream, Option<Peer>)> {
        self.refresh();
        let stream = TlsAcceptor::from(self.config.load_full()).accept(stream).await?;
        let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let peer =
            leaf.and_then(|leaf| Some(Peer { user: certificate::user(leaf)?, expires: certificate::expires(leaf)? }));
        Ok((stream, peer))
    }
}

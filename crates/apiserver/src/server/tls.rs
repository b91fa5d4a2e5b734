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

use super::sni::Certificates;
use super::trust::{self, Trust};
use crate::auth::authenticator::Peer;
use crate::config::NamedCert;

/// An accepted connection.
pub(crate) type Stream = tokio_rustls::server::TlsStream<TcpStream>;

const ALPN: &[&[u8]] = &[b"h2", b"http/1.1"];
/// The files are looked at no more often than this.
const CHECK_EVERY: Duration = Duration::from_secs(5);

struct Checked {
    at: Instant,
    changed: Vec<Option<SystemTime>>,
}

/// What connections are made with.
struct InForce {
    config: Arc<ServerConfig>,
    trust: Trust,
}

/// Makes TLS streams of TCP streams.
pub(crate) struct Acceptor {
    certificates: Arc<Certificates>,
    trusted: trust::Files,
    protocol: tls::Protocol,
    files: Vec<PathBuf>,
    in_force: ArcSwap<InForce>,
    checked: Mutex<Checked>,
}

fn modified(files: &[PathBuf]) -> Vec<Option<SystemTime>> {
    files.iter().map(|f| std::fs::metadata(f).and_then(|m| m.modified()).ok()).collect()
}

fn load(
    certificates: &Arc<Certificates>,
    trusted: &trust::Files,
    protocol: &tls::Protocol,
) -> Result<InForce, tls::Error> {
    let trust = Trust::load(trusted)?;
    let config = Arc::new(tls::asking_server_config(Arc::new(certificates.resolver()), trust.names(), ALPN, protocol)?);
    Ok(InForce { config, trust })
}

impl Acceptor {
    /// Reads the files.
    pub(crate) fn new(
        (cert_file, key_file): (&Path, &Path),
        named: &[NamedCert],
        trusted: trust::Files,
        protocol: tls::Protocol,
    ) -> Result<Self, tls::Error> {
        let certificates = Arc::new(Certificates::load(ReloadingCert::load(cert_file, key_file)?, named)?);
        let mut files = vec![cert_file.to_owned(), key_file.to_owned()];
        files.extend(named.iter().flat_map(|named| [named.cert_file.clone(), named.key_file.clone()]));
        files.extend(trusted.paths().cloned());
        Ok(Self {
            in_force: ArcSwap::from_pointee(load(&certificates, &trusted, &protocol)?),
            checked: Mutex::new(Checked { at: Instant::now(), changed: modified(&files) }),
            certificates,
            trusted,
            protocol,
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
        let fresh = self.certificates.reload().and_then(|()| load(&self.certificates, &self.trusted, &self.protocol));
        match fresh {
            Ok(fresh) => {
                self.in_force.store(Arc::new(fresh));
                info!("took up changed TLS files");
            }
            Err(why) => {
                error!("changed TLS files are not usable, the old ones stay: {}", gantry_common::error_chain(&why));
            }
        }
    }

    /// Shakes hands; also tells whom the client certificate names, if one was shown.
    pub(crate) async fn accept(&self, stream: TcpStream) -> std::io::Result<(Stream, Option<Peer>)> {
        self.refresh();
        let in_force = self.in_force.load_full();
        let stream = TlsAcceptor::from(in_force.config.clone()).accept(stream).await?;
        let peer = stream.get_ref().1.peer_certificates().and_then(|chain| in_force.trust.peer(chain));
        Ok((stream, peer))
    }
}

//! A real etcd for tests and benchmarks: own folder, free ports on loopback, gone when dropped.

use std::fs::File;
use std::io::{BufRead, BufReader, Error, Result, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use tempfile::TempDir;

/// Where Debian installs it.
const ETCD: &str = "/usr/bin/etcd";
/// Its unix socket, in its folder. To every etcd from 3.4 on this is a host and a port; newer ones take a path, too.
const SOCKET: &str = "etcd.sock:0";
/// Another process may take a free port before etcd does.
const ATTEMPTS: usize = 5;
/// [`free_port`] chooses among this many ports from this one on.
const FIRST_SERVER_PORT: u16 = 12_000;
const SERVER_PORTS: u16 = 16_384;

/// PEM files for mutual TLS.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// Signs the clients.
    pub client_ca: PathBuf,
    /// The serving certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// How to start etcd.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Serve https and demand client certificates.
    pub tls: Option<ServerTls>,
    /// More flags.
    pub args: Vec<String>,
    /// Data folder's parent; default is the temporary folder. Choose a real disk for benchmarks.
    pub parent: Option<PathBuf>,
}

/// A running etcd. Dropping it kills the process and removes its data.
pub struct Etcd {
    child: Child,
    folder: TempDir,
    options: Options,
    client_port: u16,
    peer_port: u16,
}

impl Etcd {
    /// Starts etcd and waits until it serves.
    ///
    /// # Errors
    /// When it is not installed or does not start; the message ends with its last log lines.
    pub fn start() -> Result<Self> {
        Self::start_with(Options::default())
    }

    /// As [`Etcd::start`], with options.
    ///
    /// # Errors
    /// As [`Etcd::start`].
    pub fn start_with(options: Options) -> Result<Self> {
        let builder = tempfile::Builder::new().prefix("gantry-etcd-").clone();
        let folder = match &options.parent {
            Some(parent) => builder.tempdir_in(parent.canonicalize()?)?,
            None => builder.tempdir()?,
        };
        let mut last = Error::other("never tried");
        for _ in 0..ATTEMPTS {
            let (client_port, peer_port) = (free_port()?, free_port()?);
            match launch(folder.path(), &options, client_port, peer_port) {
                Ok(child) => return Ok(Self { child, folder, options, client_port, peer_port }),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The client URL.
    #[must_use]
    pub fn url(&self) -> String {
        url(&self.options, self.client_port)
    }

    /// The URL of its unix socket, for whoever may look into its folder.
    #[must_use]
    pub fn socket_url(&self) -> String {
        format!("unix://{}", self.folder().join(SOCKET).display())
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its folder: data in `data`, log in `etcd.log`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Kills the process (SIGKILL); the data stays.
    ///
    /// # Errors
    /// When the process cannot be signalled.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Starts it again on the same ports and data.
    ///
    /// # Errors
    /// As [`Etcd::start`].
    pub fn restart(&mut self) -> Result<()> {
        // It may be dead already, which is what is wanted.
        drop(self.kill());
        self.child = launch(self.folder.path(), &self.options, self.client_port, self.peer_port)?;
        Ok(())
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // Nothing can be done about a process that is gone already.
        drop(self.kill());
    }
}

fn url(options: &Options, port: u16) -> String {
    let scheme = if options.tls.is_some() { "https" } else { "http" };
    format!("{scheme}://127.0.0.1:{port}")
}

/// A port of the loopback that nobody listens on, for a server that must come back on it. It lies below the range from
/// which the kernel gives ports to clients (`ip_local_port_range`, 32768 and up), so that no client's socket takes it
/// while the server is gone.
///
/// # Errors
/// When every port that was tried is taken.
pub fn free_port() -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Processes start apart from each other, and none gives the same port twice before it has been through all.
    let start = std::process::id().wrapping_mul(97) as u16 % SERVER_PORTS;
    let mut last = Error::other("never tried");
    for _ in 0..SERVER_PORTS {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST_SERVER_PORT + start.wrapping_add(step) % SERVER_PORTS;
        match TcpListener::bind(("127.0.0.1", port)) {
            Ok(_) => return Ok(port),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn launch(folder: &Path, options: &Options, client_port: u16, peer_port: u16) -> Result<Child> {
    let (client, peer) = (url(options, client_port), format!("http://127.0.0.1:{peer_port}"));
    let mut command = Command::new(ETCD);
    command.arg("--data-dir").arg(folder.join("data")).args(["--name", "test", "--logger", "zap"]);
    // etcd makes the socket where it runs, and does not start where one is left.
    match std::fs::remove_file(folder.join(SOCKET)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    command.args(["--listen-client-urls", &format!("{client},unix://{SOCKET}"), "--advertise-client-urls", &client]);
    command.current_dir(folder);
    command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
    command.args(["--initial-cluster", &format!("test={peer}"), "--log-outputs", "stderr"]);
    if let Some(tls) = &options.tls {
        command.arg("--client-cert-auth").arg("--trusted-ca-file").arg(&tls.client_ca);
        command.arg("--cert-file").arg(&tls.certificate).arg("--key-file").arg(&tls.key);
    }
    command.args(&options.args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| Error::new(error.kind(), format!("starting {ETCD}: {error}")))?;
    let stderr = child.stderr.take().expect("stderr is piped");
    match wait_ready(BufReader::new(stderr), File::create(folder.join("etcd.log"))?) {
        Ok(()) => Ok(child),
        Err(error) => {
            child.kill()?;
            child.wait()?;
            Err(error)
        }
    }
}

/// Reads the log until etcd says that it serves; a thread goes on writing it to the file.
fn wait_ready(mut stderr: BufReader<std::process::ChildStderr>, mut log: File) -> Result<()> {
    let mut last = String::new();
    loop {
        let mut line = String::new();
        if stderr.read_line(&mut line)? == 0 {
            return Err(Error::other(format!("etcd did not start: {last}")));
        }
        log.write_all(line.as_bytes())?;
        if line.contains("serving client traffic") || line.contains("serving insecure client") {
            std::thread::spawn(move || std::io::copy(&mut stderr, &mut log));
            return Ok(());
        }
        last = line;
    }
}

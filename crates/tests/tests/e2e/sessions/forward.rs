//! Port-forwards.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, ChildStdout};
use std::time::Duration;

use gantry_tests::cluster::{Cluster, cluster};

use super::{NS, fixture};

/// A port-forward that runs; ended when dropped.
pub(super) struct Forward {
    pub(super) child: Child,
    pub(super) at: SocketAddr,
    /// Kept open: a client whose output nobody takes ends.
    _output: BufReader<ChildStdout>,
}

impl Forward {
    pub(super) fn start(c: &Cluster, tool: &str, what: &str) -> Self {
        Self::of(c.follow(&format!("{tool} port-forward -n {NS} {what}")), &format!("{tool} {what}"))
    }

    /// One that was started elsewhere.
    pub(super) fn of(mut child: Child, what: &str) -> Self {
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("its output is read"));
        output.read_line(&mut line).expect("it says where");
        // Forwarding from 127.0.0.1:40001 -> 7000
        let port = line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split_whitespace().next());
        let port = port.and_then(|p| p.parse::<u16>().ok()).unwrap_or_else(|| panic!("{what} said {line:?}"));
        Self { child, at: SocketAddr::from(([127, 0, 0, 1], port)), _output: output }
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Sends, closes its half, and reads to the end: the server answers only once it has seen the close.
pub(super) fn round(at: SocketAddr, text: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(text)?;
    stream.shutdown(Shutdown::Write)?;
    let mut back = Vec::new();
    stream.read_to_end(&mut back)?;
    Ok(back)
}

#[test]
fn e2e_session_port_forward_100_connections_and_half_close() {
    let Some(c) = cluster() else { return };
    fixture(&c);
    for tool in c.kubectls().into_iter().chain(["gantryctl".to_owned()]) {
        let forward = Forward::start(&c, &tool, "pod/server :7000");
        let at = forward.at;
        let failures: Vec<String> = std::thread::scope(|scope| {
            let each = |n: usize| {
                let text = format!("connection {n} ").repeat(2000);
                match round(at, text.as_bytes()) {
                    Ok(back) if back == text.as_bytes() => None,
                    Ok(back) => Some(format!("{n}: {} bytes of {} came back", back.len(), text.len())),
                    Err(error) => Some(format!("{n}: {error}")),
                }
            };
            let threads: Vec<_> = (0..100).map(|n| scope.spawn(move || each(n))).collect();
            threads.into_iter().filter_map(|t| t.join().expect("no panic")).collect()
        });
        assert!(failures.is_empty(), "{tool}: {failures:?}");
    }
}

#[test]
fn e2e_session_port_forward_to_a_service_and_a_port_that_nobody_serves() {
    let Some(c) = cluster() else { return };
    fixture(&c);
    for tool in c.kubectls().into_iter().chain(["gantryctl".to_owned()]) {
        let forward = Forward::start(&c, &tool, "service/server :80");
        let (status, body) = gantry_tests::machine::http_get(forward.at, "/over-the-service").expect("it answers");
        assert!(status == 200 && body.starts_with("GET /over-the-service"), "{tool}: {body}");
    }
    for tool in c.kubectls().into_iter().chain(["gantryctl".to_owned()]) {
        let forward = Forward::start(&c, &tool, "pod/server :9");
        let back = round(forward.at, b"anybody?");
        assert!(back.is_err() || back.is_ok_and(|b| b.is_empty()), "{tool}: nobody serves this port");
    }
}

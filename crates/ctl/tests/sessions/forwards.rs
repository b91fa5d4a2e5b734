//! `port-forward`.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpStream},
    process::{Child, ChildStderr, ChildStdout, Stdio},
};

use serde_json::json;

use super::World;

struct Forward {
    child: Child,
    out: BufReader<ChildStdout>,
    err: BufReader<ChildStderr>,
}

impl Forward {
    fn start(world: &World, args: &[&str]) -> Self {
        let mut command = world.command(&[&["port-forward"], args].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let err = BufReader::new(child.stderr.take().expect("piped"));
        Self { child, out, err }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("it prints");
        line.trim_end().to_owned()
    }

    fn complaint(&mut self) -> String {
        let mut line = String::new();
        self.err.read_line(&mut line).expect("it prints");
        line
    }

    /// The local port of the line that it prints.
    fn port(&mut self, remote: u16) -> u16 {
        let line = self.line();
        let address = line.strip_prefix("Forwarding from 127.0.0.1:").unwrap_or_else(|| panic!("{line}"));
        let port = address.strip_suffix(&format!(" -> {remote}")).unwrap_or_else(|| panic!("{line}"));
        port.parse().expect("a port")
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }
}

/// Sends everything, ends its own direction, and reads the answer.
fn ask(port: u16, text: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    let mut write = stream.try_clone().expect("a socket");
    let sent = text.to_owned();
    let writer = std::thread::spawn(move || {
        write.write_all(&sent).expect("it is read");
        write.shutdown(Shutdown::Write).expect("open");
    });
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers");
    writer.join().expect("no panic");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_reach_the_pod_and_each_direction_ends_for_itself() {
    let world = World::start().await;
    let mut forward = Forward::start(&world, &["--address=127.0.0.1", "web", ":7"]);
    let port = forward.port(7);
    assert_eq!(ask(port, b"hello"), b"olleh");
    assert_eq!(forward.line(), format!("Handling connection for {port}"));
    let big: Vec<u8> = (0..5_000_000_u32).map(|i| i.to_le_bytes()[0] ^ i.to_le_bytes()[2]).collect();
    let reversed: Vec<u8> = big.iter().rev().copied().collect();
    assert!(ask(port, &big) == reversed, "all of it comes back");
    let many: Vec<_> = (0..50_u8).map(|n| std::thread::spawn(move || (n, ask(port, &[n, 1, 2])))).collect();
    for one in many {
        let (n, answer) = one.join().expect("no panic");
        assert_eq!(answer, [2, 1, n]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_fails_is_told_and_others_go_on() {
    let world = World::start().await;
    let mut forward = Forward::start(&world, &["--address=127.0.0.1", "web", ":1", ":9", ":7"]);
    let (refused, unreachable, good) = (forward.port(1), forward.port(9), forward.port(7));
    assert_eq!(ask(refused, b""), b"");
    let said = forward.complaint();
    assert!(said.contains(&format!("an error occurred forwarding {refused} -> 1: ")), "{said}");
    assert!(said.contains("connection refused"), "{said}");
    assert_eq!(ask(unreachable, b""), b"");
    let said = forward.complaint();
    assert!(said.contains("node \"n1\" cannot be reached"), "{said}");
    assert_eq!(ask(good, b"ab"), b"ba");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_stands_for_a_port_of_its_pod() {
    let world = World::start().await;
    world.fake.state.add(
        "services",
        json!({"metadata": {"name": "front", "namespace": "default"},
        "spec": {"selector": {"app": "web"}, "clusterIP": "10.0.0.1",
            "ports": [{"name": "web", "port": 80, "targetPort": "http", "protocol": "TCP"}]}}),
    );
    let mut forward = Forward::start(&world, &["svc/front", ":web"]);
    let port = forward.port(7);
    assert_eq!(ask(port, b"xyz"), b"zyx");
    let said = world.fails(1, &["port-forward", "svc/front", "81"]);
    assert!(said.contains("Service 'front' does not have a service port 81"), "{said}");
    let taken = format!("{port}:7");
    let said = world.fails(1, &["port-forward", "--address=127.0.0.1", "web", &taken]);
    assert!(said.contains(&format!("unable to listen on 127.0.0.1:{port}")), "{said}");
}

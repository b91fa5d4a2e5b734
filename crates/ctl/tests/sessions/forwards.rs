//! `port-forward`.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpStream},
    process::{Child, ChildStderr, ChildStdout, Stdio},
};

use gantry_api::status::Status;
use gantry_proto::v1::open_session::Kind;
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

/// Waits for its end: the code, and what it said besides.
fn ending(mut forward: Forward) -> (Option<i32>, String) {
    let mut said = String::new();
    forward.err.read_to_string(&mut said).expect("text");
    (forward.child.wait().expect("it ends").code(), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_forward_ends_with_its_pod() {
    let world = World::start().await;
    let mut object = super::pod("brief", json!({}), &["c"]);
    object["metadata"]["uid"] = json!("uid-7");
    world.fake.state.add("pods", object);
    let mut forward = Forward::start(&world, &["--address=127.0.0.1", "brief", ":7"]);
    assert_eq!(ask(forward.port(7), b"ab"), b"ba");
    let asked = world.fake.state.opened.lock().clone();
    let uids: Vec<_> = asked
        .iter()
        .map(|kind| match kind {
            Kind::PortForward(request) => (request.port, request.pod_uid.as_str()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(uids, [(0, "uid-7"), (7, "uid-7")], "that very pod");
    let why = "the session has ended because pod \"brief\" is gone: it was deleted";
    world.fake.state.forwards.send_replace(Some(Status::failure(404, "NotFound", why)));
    assert_eq!(ending(forward), (Some(1), format!("error: lost connection to pod: {why}\n")));
    // No later pod of that name is taken for it, and none that may not be used.
    for (code, expected) in [(404, "lost connection to pod: no"), (400, "lost connection to pod: no"), (403, "no")] {
        world.fake.state.forwards.send_replace(None);
        let mut forward = Forward::start(&world, &["--address=127.0.0.1", "web", ":7"]);
        forward.port(7);
        world.fake.state.forwards.send_replace(Some(Status::failure(code, "", "no")));
        assert_eq!(ending(forward), (Some(1), format!("error: {expected}\n")), "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_forward_goes_on_with_the_next_api_server() {
    let mut world = World::start().await;
    let mut forward = Forward::start(&world, &["--address=127.0.0.1", "web", ":7"]);
    let port = forward.port(7);
    world.fake.stop();
    let said = forward.complaint();
    assert!(said.starts_with("lost connection to the API server, looking for one: "), "{said}");
    world.fake.start_again();
    assert_eq!(forward.complaint(), "connected to an API server again\n");
    assert_eq!(ask(port, b"ab"), b"ba");
    // One that stops says so, and is left as well.
    let stopping = Status::failure(503, "ServiceUnavailable", "the API server is shutting down");
    world.fake.state.forwards.send_replace(Some(stopping));
    let said = forward.complaint();
    assert!(said.ends_with("looking for one: the API server is shutting down\n"), "{said}");
    world.fake.state.forwards.send_replace(None);
    while forward.complaint() != "connected to an API server again\n" {}
    // The pod is another one by then.
    world.fake.state.forwards.send_replace(Some(Status::failure(404, "NotFound", "pods \"web\" not found")));
    let (code, said) = ending(forward);
    assert!(code == Some(1) && said.ends_with("error: lost connection to pod: pods \"web\" not found\n"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_is_looked_for_as_long_as_the_user_says() {
    let mut world = World::start().await;
    let short = ["--reconnect-timeout=300ms", "--address=127.0.0.1", "web", ":7"];
    let mut forwards = [short, ["--reconnect-timeout=0s", short[1], short[2], short[3]]].map(|args| {
        let mut forward = Forward::start(&world, &args);
        forward.port(7);
        Some(forward)
    });
    world.fake.stop();
    let [patient, hasty] = &mut forwards;
    let (code, said) = ending(patient.take().expect("it runs"));
    assert_eq!(code, Some(1), "{said}");
    let lines: Vec<_> = said.lines().collect();
    assert!(lines.len() == 2 && lines[0].contains("looking for one: "), "{said}");
    assert!(lines[1].starts_with("error: lost connection to the API server: "), "{said}");
    let (code, said) = ending(hasty.take().expect("it runs"));
    assert!(code == Some(1) && said.starts_with("error: lost connection to the API server: "), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

//! A real kubectl against this crate: Go's spdystream at the other end of a socket. Everything above SPDY is just enough of
//! a server for kubectl to come this far.

use std::{collections::HashMap, fs::File, io::Write, net::SocketAddr, process::Stdio, sync::Arc, time::Duration};

use bytes::Bytes;
use gantry_common::task;
use gantry_spdy::{Connection, Headers, Incoming, Stream};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    process::Command,
    time::timeout,
};

/// More than any of this takes.
const LONG: Duration = Duration::from_secs(60);
const POD: &str = r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p","namespace":"default"},
    "spec":{"nodeName":"n","containers":[{"name":"c","image":"i"}]},"status":{"phase":"Running"}}"#;
const RESOURCES: &str = r#"{"kind":"APIResourceList","groupVersion":"v1","resources":[
    {"name":"pods","singularName":"pod","namespaced":true,"kind":"Pod","verbs":["get","list","create"]}]}"#;

/// Whether kubectl is there; says so when it is not: `cargo xtask test` prints what is in the file named by `GANTRY_SKIPS`.
fn present() -> bool {
    let found = std::process::Command::new("kubectl").args(["version", "--client"]).output();
    if found.is_ok_and(|output| output.status.success()) {
        return true;
    }
    let line = format!("{}: kubectl is not installed", std::thread::current().name().unwrap_or("kubectl over SPDY"));
    eprintln!("skipped: {line}");
    if let Some(path) = std::env::var_os("GANTRY_SKIPS") {
        let mut file = File::options().append(true).open(path).expect("the file of skips is there");
        writeln!(file, "{line}").expect("it can be written");
    }
    false
}

/// kubectl with a home of its own, told to use SPDY where it would rather use WebSocket.
fn kubectl(server: SocketAddr, home: &tempfile::TempDir, args: &[&str]) -> Command {
    let mut command = Command::new("kubectl");
    command.env("HOME", home.path()).env("KUBECONFIG", "/dev/null").kill_on_drop(true);
    command.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "false").env("KUBECTL_PORT_FORWARD_WEBSOCKETS", "false");
    command.arg(format!("--server=http://{server}")).args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Serves the few documents that kubectl asks for, and hands every connection that it upgrades to `session`.
async fn serve(
    protocol: &'static str,
    session: fn(Connection) -> futures::future::BoxFuture<'static, ()>,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    task::spawn("listen", async move {
        while let Ok((socket, _)) = listener.accept().await {
            task::spawn("connection", async move {
                if let Some(socket) = until_upgrade(socket, protocol).await {
                    let (connection, driver) = gantry_spdy::server(socket);
                    let (outcome, ()) = tokio::join!(driver.run(), session(connection));
                    outcome.expect("kubectl keeps to the protocol");
                }
            });
        }
    });
    address
}

async fn until_upgrade(socket: TcpStream, protocol: &str) -> Option<BufReader<TcpStream>> {
    let mut socket = BufReader::new(socket);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if socket.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            if line.trim_end().is_empty() {
                break;
            }
            head.push(line.trim_end().to_owned());
        }
        let path = head[0].split([' ', '?']).nth(1).unwrap_or_default();
        if head.iter().any(|line| line.eq_ignore_ascii_case("upgrade: spdy/3.1")) {
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\
                 X-Stream-Protocol-Version: {protocol}\r\n\r\n"
            );
            socket.write_all(answer.as_bytes()).await.ok()?;
            return Some(socket);
        }
        let (status, body) = match path {
            "/api" => ("200 OK", r#"{"kind":"APIVersions","versions":["v1"]}"#),
            "/apis" => ("200 OK", r#"{"kind":"APIGroupList","apiVersion":"v1","groups":[]}"#),
            "/api/v1" => ("200 OK", RESOURCES),
            "/api/v1/namespaces/default/pods/p" => ("200 OK", POD),
            _ => ("404 Not Found", r#"{"kind":"Status","apiVersion":"v1","status":"Failure","code":404}"#),
        };
        let length = body.len();
        let answer =
            format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}");
        socket.write_all(answer.as_bytes()).await.ok()?;
    }
}

async fn accept(connection: &mut Connection) -> Option<(String, Option<String>, Stream)> {
    let incoming: Incoming = connection.accept().await?;
    let kind = incoming.headers().get("streamType").expect("kubectl names its streams").to_owned();
    let request = incoming.headers().get("requestID").map(str::to_owned);
    Some((kind, request, incoming.reply(Headers::new()).await.expect("kubectl waits for the reply")))
}

async fn echo(from: &mut gantry_spdy::Reader, to: &gantry_spdy::Writer) {
    while let Some(piece) = from.read().await {
        to.write(piece).await.expect("kubectl reads");
    }
    to.finish().await.expect("kubectl still reads");
}

/// `cat`, and an exit code of 3.
fn cat(mut connection: Connection) -> futures::future::BoxFuture<'static, ()> {
    Box::pin(async move {
        let mut streams = HashMap::new();
        for _ in 0..4 {
            let (kind, _, stream) = accept(&mut connection).await.expect("kubectl opens four streams");
            streams.insert(kind, stream);
        }
        let mut take = |kind: &str| streams.remove(kind).unwrap_or_else(|| panic!("kubectl opens {kind}")).split();
        let ((mut stdin, _stdin), (_, stdout), (_, stderr), (_, error)) =
            (take("stdin"), take("stdout"), take("stderr"), take("error"));
        stderr.write(Bytes::from_static(b"a warning\n")).await.expect("kubectl reads");
        stderr.finish().await.expect("kubectl still reads");
        echo(&mut stdin, &stdout).await;
        let status = r#"{"metadata":{},"status":"Failure","reason":"NonZeroExitCode","message":"exit code 3",
            "details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#;
        error.write(Bytes::from_static(status.as_bytes())).await.expect("kubectl reads");
        connection.close();
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_kubectl_execs_over_this_crate() {
    if !present() {
        return;
    }
    let server = serve("v4.channel.k8s.io", cat).await;
    let home = tempfile::tempdir().expect("a folder");
    let mut child = kubectl(server, &home, &["exec", "-i", "p", "--", "cat"]).spawn().expect("kubectl is there");
    let (mut stdin, mut stdout) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
    let said: Arc<Vec<u8>> =
        Arc::new((0..16 << 20).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect());
    let words = Arc::clone(&said);
    let speak = task::spawn("stdin", async move { stdin.write_all(&words).await });
    let mut heard = Vec::new();
    timeout(LONG, stdout.read_to_end(&mut heard)).await.expect("kubectl ends").expect("its output can be read");
    speak.await.expect("no panic").expect("kubectl took it all");
    let output = timeout(LONG, child.wait_with_output()).await.expect("kubectl ends").expect("it ran");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((heard.len(), Sha256::digest(&heard)), (said.len(), Sha256::digest(&*said)), "{stderr}");
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.starts_with("a warning\n"), "{stderr}");
}

/// Each pair of streams is a connection that is echoed.
fn forward(mut connection: Connection) -> futures::future::BoxFuture<'static, ()> {
    Box::pin(async move {
        let mut errors = HashMap::new();
        while let Some((kind, request, stream)) = accept(&mut connection).await {
            let request = request.expect("kubectl numbers its connections");
            if kind == "error" {
                errors.insert(request, stream);
                continue;
            }
            let error: Stream = errors.remove(&request).expect("the error stream comes first");
            task::spawn("echo", async move {
                let (mut from, to) = stream.split();
                echo(&mut from, &to).await;
                error.finish().await.expect("kubectl waits for it");
            });
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_kubectl_forwards_ports_over_this_crate() {
    if !present() {
        return;
    }
    let server = serve("portforward.k8s.io", forward).await;
    let home = tempfile::tempdir().expect("a folder");
    let mut child = kubectl(server, &home, &["port-forward", "p", ":80"]).spawn().expect("kubectl is there");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let first = timeout(LONG, lines.next_line()).await.expect("kubectl says where it listens").expect("it can be read");
    let first = first.expect("it did not end");
    let local = first.split_whitespace().find(|word| word.starts_with("127.0.0.1:")).expect("an address").to_owned();
    // Dropped only at the end: kubectl would stop at a line that it cannot write.
    task::spawn("output", async move { while matches!(lines.next_line().await, Ok(Some(_))) {} });
    let connection = |n: usize| {
        let local = local.clone();
        async move {
            let said = format!("connection {n} ").repeat(20_000).into_bytes();
            let (mut read, mut write) = TcpStream::connect(local).await.expect("kubectl listens").into_split();
            let mut heard = Vec::new();
            let speak = async {
                write.write_all(&said).await.expect("kubectl takes it");
                write.shutdown().await.expect("the end, too");
            };
            let ((), read) = tokio::join!(speak, read.read_to_end(&mut heard));
            read.expect("the answer comes");
            assert!(heard == said, "connection {n}: {} of {} bytes came back", heard.len(), said.len());
        }
    };
    timeout(LONG, futures::future::join_all((0..20).map(connection))).await.expect("all are answered");
    child.kill().await.expect("it still runs");
}

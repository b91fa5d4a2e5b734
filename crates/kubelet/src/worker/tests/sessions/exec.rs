//! Commands: outputs, codes, terminals, and much data.

use bytes::Bytes;
use gantry_proto::v1::{ExecRequest, SessionEnd, SessionFrame, open_session::Kind, session_frame::Frame};
use serde_json::json;

use super::client::{Client, Served, shell};

async fn refused(served: &Served, request: ExecRequest) -> (u16, String) {
    let status = served.open(Kind::Exec(request)).await.err().expect("it is refused");
    (status.code, status.message)
}

fn exit(code: i64, why: &str) -> serde_json::Value {
    json!({
        "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
        "message": format!("command terminated with non-zero exit code: {why}"),
        "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
    })
}

pub(super) async fn commands(served: &Served) {
    let success = json!({"metadata": {}, "status": "Success"});
    let said = served.shell("read x; echo out $x; echo err >&2; exit 7").await;
    said.data("in\n").await;
    let said = said.rest().await;
    assert_eq!((said.text().as_str(), said.error().as_str()), ("out in\n", "err\n"));
    let words = "error executing command [/bin/busybox sh -c read x; echo out $x; echo err >&2; exit 7], exit code 7";
    assert_eq!(said.status, exit(7, words));

    // A deferred one runs when it is told to.
    let later = served.open_deferred(Kind::Exec(shell("echo > /started"))).await;
    let started = served.shell("[ ! -e /started ]").await.rest().await;
    assert_eq!(started.status, success);
    later.start().await;
    assert_eq!(later.rest().await.status, success);
    assert_eq!(served.shell("[ -e /started ]").await.rest().await.status, success);

    // A process that closes its outputs still reads, and its end still counts.
    let quiet = served.shell("exec >/dev/null 2>&1; read x; [ \"$x\" = go ]").await;
    quiet.data("go\n").await;
    assert_eq!(quiet.rest().await.status, success);

    let missing = ExecRequest { command: vec!["nosuch".into()], ..shell("") };
    let said = served.open(Kind::Exec(missing)).await.unwrap().rest().await;
    assert!(said.error().contains("exec: \"nosuch\": executable file not found in $PATH"), "{said:?}");
    assert_eq!(said.status["details"]["causes"][0]["message"], "127");
    let folder = ExecRequest { command: vec!["/www".into()], ..shell("") };
    let said = served.open(Kind::Exec(folder)).await.unwrap().rest().await;
    assert!(said.error().contains("permission denied"), "{said:?}");
    assert_eq!(
        (&said.status["reason"], &said.status["details"]["causes"][0]["message"]),
        (&json!("NonZeroExitCode"), &json!("126"))
    );

    let refusal = refused(served, ExecRequest { container: "other".into(), ..shell("true") }).await;
    assert_eq!(refusal, (500, "container not found (\"other\")".to_owned()));
    let refusal = refused(served, ExecRequest { pod_uid: "another".into(), ..shell("true") }).await;
    assert_eq!(refusal, (404, "pods \"web\" not found".to_owned()));
    assert_eq!(refused(served, ExecRequest { command: Vec::new(), ..shell("") }).await.0, 400);
}

pub(super) async fn terminals(served: &Served) {
    let script = "[ -t 0 ] && [ -t 2 ] || exit 3; until [ \"$(/bin/busybox stty size 2>/dev/null)\" = '33 101' ]; do :; done; \
                  echo first; until [ \"$(/bin/busybox stty size 2>/dev/null)\" = '44 202' ]; do :; done; printf '\\001\\002raw'; echo err >&2";
    let request = ExecRequest { tty: true, ..shell(script) };
    let mut client = served.open(Kind::Exec(request)).await.unwrap();
    // Before it has started: the size is kept until there is a terminal.
    client.resize(101, 33).await;
    assert_eq!(client.lines(1).await, "first\r\n");
    client.resize(202, 44).await;
    let said = client.rest().await;
    assert_eq!((said.text().as_str(), said.error().as_str()), ("\u{1}\u{2}rawerr\r\n", ""));
    assert_eq!(said.status["status"], "Success");

    // Keys by which Docker's own client parts from a process are keys like others.
    let request = ExecRequest {
        tty: true,
        ..shell("/bin/busybox stty raw -echo; echo go; /bin/busybox head -c 3 | /bin/busybox od -c")
    };
    let mut client = served.open(Kind::Exec(request)).await.unwrap();
    assert!(client.lines(1).await.starts_with("go"));
    client.data(&b"\x10\x11x"[..]).await;
    let said = client.rest().await;
    assert!(said.text().contains("020 021   x"), "{said:?}");
}

/// Whoever types no more still reads what comes.
pub(super) async fn terminals_stay_open(served: &Served) {
    let request = ExecRequest { tty: true, ..shell("read x; echo $x; until [ -e /typed ]; do :; done; echo last") };
    let mut client = served.open(Kind::Exec(request)).await.unwrap();
    client.data("word\n").await;
    client.end().await;
    // Its echo, and its answer.
    assert_eq!(client.lines(2).await, "word\r\nword\r\n");
    assert_eq!(served.shell("echo > /typed").await.rest().await.status["status"], "Success");
    assert_eq!(client.rest().await.text(), "last\r\n");
}

/// 100 MB in, the same 100 MB out: in order, complete, and never more of it in memory than a few frames.
pub(super) async fn hundred_megabytes(served: &Served) {
    const PIECES: usize = 1600;
    let mut client: Client = served.shell("/bin/busybox cat").await;
    let sender = client.sender();
    let piece = |index: usize| Bytes::from(vec![u8::try_from(index % 251).unwrap(); 64 * 1024]);
    let sending = gantry_common::task::spawn("sender", async move {
        for index in 0..PIECES {
            let frame = Frame::Data(piece(index));
            sender.send(Ok(SessionFrame { frame: Some(frame) })).await.unwrap();
        }
        sender.send(Ok(SessionFrame { frame: Some(Frame::End(SessionEnd {})) })).await.unwrap();
    });
    let mut place = 0;
    let status = loop {
        match client.next().await.expect("a status comes first") {
            Frame::Data(bytes) => {
                assert!(bytes.len() <= 64 * 1024);
                for byte in &bytes {
                    assert_eq!(usize::from(*byte), (place / (64 * 1024)) % 251, "at {place}");
                    place += 1;
                }
            }
            Frame::Status(status) => break status,
            other => panic!("{other:?}"),
        }
    };
    sending.await.unwrap();
    assert_eq!(place, PIECES * 64 * 1024);
    assert_eq!(&status[..], br#"{"metadata":{},"status":"Success"}"#);

    // A client that does not read holds the process up, and nothing is taken from it.
    let mut client = served.shell("/bin/busybox yes").await;
    let first = client.next().await;
    assert!(matches!(first, Some(Frame::Data(_))));
    drop(client);
}

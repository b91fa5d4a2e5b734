//! What HTTP/2 has rules for of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::Frame;

use crate::support::Cluster;

type Body = BoxBody<Bytes, std::convert::Infallible>;

fn request(method: &str, path: &str, body: Body) -> http::Request<Body> {
    let uri = format!("https://localhost{path}");
    http::Request::builder().method(method).uri(uri).body(body).expect("a request")
}

#[tokio::test]
async fn a_body_that_nobody_wants_is_taken_before_the_stream_ends() {
    let cluster = Cluster::start().await;
    let mut sender = cluster.http2().await;
    for path in ["/apis/none.example/v1/things", "/api/v1/namespaces/default/things"] {
        let sent = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&sent);
        let late = stream::unfold(0, move |turn| {
            let flag = Arc::clone(&flag);
            async move {
                if turn == 1 {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    flag.store(true, Ordering::SeqCst);
                }
                (turn < 2).then(|| (Ok(Frame::data(Bytes::from_static(b"{}"))), turn + 1))
            }
        });
        let answer = sender.send_request(request("POST", path, BodyExt::boxed(StreamBody::new(Box::pin(late))))).await;
        assert_eq!(answer.expect("answers").status(), 404);
        assert!(sent.load(Ordering::SeqCst), "{path}: the stream ended while its client still sent");
    }
}

#[tokio::test]
async fn the_answer_to_a_head_has_no_body() {
    let cluster = Cluster::start().await;
    let mut sender = cluster.http2().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    for (path, code) in [(maps, 405), ("/api/v1/namespaces/default", 405), ("/version", 200), ("/healthz", 200)] {
        let answer = sender.send_request(request("HEAD", path, Empty::new().boxed())).await.expect("answers");
        assert_eq!(answer.status(), code, "{path}");
        let length = answer.headers()["content-length"].to_str().expect("text").parse::<u64>().expect("a number");
        assert!(length > 0, "{path}");
        let body = answer.into_body().collect().await.expect("a clean end").to_bytes();
        assert!(body.is_empty(), "{path}");
    }
}

//! Deadlines of calls: a call whose `grpc-timeout` has passed is cancelled, whether it is still worked on or streams already.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use gantry_api::status::Status;
use http::HeaderMap;
use http_body::Frame;
use tokio::time::{Instant, Sleep};

use super::convert;
use crate::server::{Body, Response};

/// Digits that a timeout has at most.
const DIGITS_MAX: usize = 8;

/// The timeout that a call states, if any.
///
/// # Errors
/// 400 for one that is not understood: the client would wait for an end that does not come.
fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let Some(value) = headers.get("grpc-timeout") else { return Ok(None) };
    let parse = || {
        let text = value.to_str().ok()?;
        let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let plain = digits.len() <= DIGITS_MAX && digits.bytes().all(|b| b.is_ascii_digit());
        let count: u64 = plain.then(|| digits.parse().ok()).flatten()?;
        Some(match unit {
            "H" => Duration::from_secs(count * 3600),
            "M" => Duration::from_secs(count * 60),
            "S" => Duration::from_secs(count),
            "m" => Duration::from_millis(count),
            "u" => Duration::from_micros(count),
            "n" => Duration::from_nanos(count),
            _ => return None,
        })
    };
    let refused =
        || Status::bad_request(format!("grpc-timeout {value:?} is not up to eight digits and one of H, M, S, m, u, n"));
    parse().map(Some).ok_or_else(refused)
}

fn expired(limit: Duration) -> tonic::Status {
    let why = format!("the call's deadline has passed after {limit:?}");
    convert::failed(Status::failure(504, "Timeout", why))
}

/// Answers a call within the time that its headers allow.
pub(crate) async fn within<F>(headers: &HeaderMap, call: impl FnOnce() -> F) -> Result<Response, Infallible>
where
    F: Future<Output = Result<Response, Infallible>>,
{
    let limit = match timeout(headers) {
        Ok(None) => return call().await,
        Ok(Some(limit)) => limit,
        Err(status) => return Ok(convert::failed(status).into_http()),
    };
    let end = Instant::now() + limit;
    match tokio::time::timeout_at(end, call()).await {
        Ok(answer) => answer.map(|response| {
            response.map(|body| {
                Body::new(Limited { body: Some(body), limit, end: Box::pin(tokio::time::sleep_until(end)) })
            })
        }),
        Err(_) => Ok(expired(limit).into_http()),
    }
}

/// An answer that streams until the deadline; then it is dropped, which ends what makes it.
struct Limited {
    body: Option<Body>,
    limit: Duration,
    end: Pin<Box<Sleep>>,
}

impl http_body::Body for Limited {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let Some(body) = self.body.as_mut() else { return Poll::Ready(None) };
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(context) {
            return Poll::Ready(frame);
        }
        ready!(self.end.as_mut().poll(context));
        self.body = None;
        let mut trailers = HeaderMap::new();
        let told = expired(self.limit).add_header(&mut trailers);
        Poll::Ready(Some(told.map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(http_body::Body::is_end_stream)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        let check = |text: &str, expected: Option<Duration>| {
            let headers =
                HeaderMap::from_iter([("grpc-timeout".parse().expect("a name"), text.parse().expect("text"))]);
            assert_eq!(timeout(&headers).ok().flatten(), expected, "{text}");
        };
        check("2H", Some(Duration::from_secs(7200)));
        check("3M", Some(Duration::from_secs(180)));
        check("99999999S", Some(Duration::from_secs(99_999_999)));
        check("100m", Some(Duration::from_millis(100)));
        check("5u", Some(Duration::from_micros(5)));
        check("7n", Some(Duration::from_nanos(7)));
        for broken in ["", "S", "1", "-1S", "1.5S", "100000000S", "1s", "1 S"] {
            check(broken, None);
        }
        assert_eq!(timeout(&HeaderMap::new()).ok().flatten(), None);
    }

    fn limited(text: &str) -> HeaderMap {
        HeaderMap::from_iter([("grpc-timeout".parse().expect("a name"), text.parse().expect("text"))])
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_does_not_answer_is_cancelled() {
        let answer = within(&limited("5S"), std::future::pending).await.expect("an answer");
        assert_eq!(answer.headers()["grpc-status"], "4");
        let answer = within(&limited("nonsense"), std::future::pending).await.expect("an answer");
        assert_eq!(answer.headers()["grpc-status"], "3");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_with_the_deadline() {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let frames = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let call = || async { Ok(Response::new(Body::new(StreamBody::new(frames)))) };
        let answer = within(&limited("5S"), call).await.expect("an answer");
        sender.send(Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"x")))).await.expect("taken");
        let whole = answer.into_body().collect().await.expect("a body");
        assert_eq!(whole.trailers().expect("an end")["grpc-status"], "4");
        assert_eq!(whole.to_bytes(), "x");
        assert!(sender.is_closed(), "nobody makes frames for a call that has ended");
    }
}

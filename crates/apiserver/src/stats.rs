//! What nodes say of the use of their CPU and memory: asked for when somebody wants to know, by one question per node at a
//! time, and shared for a few seconds.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use gantry_api::stats::NodeStats;
use gantry_api::status::Status;
use gantry_proto::v1::StatsRequest;
use gantry_proto::v1::open_session::Kind;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::sessions::{Received, Sessions, Start};

/// How long an answer is good for everybody who asks.
const SHARED: Duration = Duration::from_secs(5);
/// How long a node may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of one node's answer: some hundred pods need a tenth of it.
const BYTES_MAX: usize = 16 << 20;

/// What a node answered, or why it did not.
type Answer = Result<Arc<NodeStats>, Status>;

/// The last answer of one node. Who asks anew holds it, so others wait for that answer instead of asking again.
type Place = tokio::sync::Mutex<Option<(Instant, Answer)>>;

/// The last answers of all nodes.
#[derive(Default)]
pub(crate) struct Stats {
    places: Mutex<HashMap<String, Arc<Place>>>,
}

impl Stats {
    /// What the node uses.
    ///
    /// # Errors
    /// 503 when the node cannot be reached or does not answer in time, and what the node says.
    pub(crate) async fn of(&self, sessions: &Sessions, node: &str) -> Answer {
        let place = self.places.lock().entry(node.to_owned()).or_default().clone();
        let mut last = place.lock().await;
        if let Some((at, answer)) = last.as_ref()
            && at.elapsed() < SHARED
        {
            return answer.clone();
        }
        let answer = match tokio::time::timeout(TIMEOUT, ask(sessions, node)).await {
            Ok(answer) => answer,
            Err(_) => Err(Status::unavailable(format!(
                "node {node:?} did not say within {TIMEOUT:?} what it uses: check its kubelet"
            ))),
        };
        *last = Some((Instant::now(), answer.clone()));
        answer
    }

    /// Forgets nodes that are gone.
    pub(crate) fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.places.lock().retain(|node, _| exists(node));
    }
}

async fn ask(sessions: &Sessions, node: &str) -> Answer {
    let mut session = sessions.open(node, Kind::Stats(StatsRequest { node: node.to_owned() }), Start::AtOnce).await?;
    let mut bytes = Vec::new();
    while let Some(received) = session.from_node.recv().await {
        match received {
            Received::Data(data) if bytes.len() + data.len() > BYTES_MAX => {
                return Err(Status::internal(format!("node {node:?} sent more than {BYTES_MAX} bytes of statistics")));
            }
            Received::Data(data) => bytes.extend_from_slice(&data),
            Received::Stderr(_) | Received::End => {}
            Received::Done(status) if status.status == "Success" => {
                return serde_json::from_slice(&bytes).map(Arc::new).map_err(|error| {
                    Status::internal(format!("the statistics of node {node:?} cannot be read: {error}"))
                });
            }
            Received::Done(status) => return Err(status),
        }
    }
    Err(Status::unavailable(format!("the session with node {node:?} broke off")))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use gantry_proto::v1::ControlCommand;
    use gantry_proto::v1::control_command::Command;
    use tokio::sync::mpsc;

    use super::*;

    const STATS: &str = r#"{"node":{"name":"n1","time":"2026-01-01T00:00:00Z","window_seconds":10,"cpu_nano_cores":5,
        "cpu_usage_core_nanoseconds":6,"memory_usage_bytes":7,"memory_working_set_bytes":8},"pods":[]}"#;

    /// Answers one question with `frames`.
    async fn answer(sessions: &Sessions, commands: &mut mpsc::Receiver<ControlCommand>, frames: Vec<Received>) {
        let Some(Command::Open(open)) = commands.recv().await.and_then(|c| c.command) else { panic!("a question") };
        assert!(matches!(open.kind, Some(Kind::Stats(_))));
        let accepted = sessions.accept(&open.session, "n1").expect("its node");
        for frame in frames {
            // Who asked may have had enough.
            drop(accepted.from_node.send(frame).await);
        }
    }

    fn success() -> Received {
        Received::Done(Status { status: "Success".to_owned(), ..Status::failure(200, "", "") })
    }

    #[tokio::test(start_paused = true)]
    async fn one_question_serves_all_for_a_while() {
        let (sessions, stats) = (Sessions::default(), Stats::default());
        let (_, mut commands) = sessions.register("n1");
        let (first, rest) = STATS.split_at(30);
        let frames = vec![
            Received::Data(Bytes::from_static(first.as_bytes())),
            Received::Data(Bytes::from_static(rest.as_bytes())),
            success(),
        ];
        let asking = async { tokio::join!(stats.of(&sessions, "n1"), stats.of(&sessions, "n1")) };
        let ((one, two), ()) = tokio::join!(asking, answer(&sessions, &mut commands, frames));
        assert_eq!(one.expect("an answer").node.cpu_nano_cores, 5);
        assert_eq!(two.expect("the same").node.memory_working_set_bytes, 8);
        assert!(stats.of(&sessions, "n1").await.is_ok(), "shared");
        assert!(commands.try_recv().is_err(), "the node was asked once");
        tokio::time::advance(SHARED).await;
        let refusal = vec![Received::Done(Status::internal("no control groups"))];
        let (again, ()) = tokio::join!(stats.of(&sessions, "n1"), answer(&sessions, &mut commands, refusal));
        assert_eq!(again.expect_err("asked anew").code, 500);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_and_is_remembered() {
        let (sessions, stats) = (Sessions::default(), Stats::default());
        let (_, mut commands) = sessions.register("n1");
        let status = stats.of(&sessions, "n1").await.expect_err("nobody answers");
        assert!(status.message.contains("did not say within 5s"), "{status}");
        assert!(commands.recv().await.is_some());
        assert_eq!(stats.of(&sessions, "n1").await.expect_err("known").code, 503);
        assert!(commands.try_recv().is_err(), "not asked again at once");
        stats.retain(|_| false);
        assert!(stats.places.lock().is_empty());
    }

    #[tokio::test]
    async fn what_is_too_large_is_refused() {
        let (sessions, stats) = (Sessions::default(), Stats::default());
        let (_, mut commands) = sessions.register("n1");
        let piece = Bytes::from(vec![b' '; BYTES_MAX / 2 + 1]);
        let frames = vec![Received::Data(piece.clone()), Received::Data(piece), success()];
        let (answered, ()) = tokio::join!(stats.of(&sessions, "n1"), answer(&sessions, &mut commands, frames));
        assert!(answered.expect_err("refused").message.contains("more than"));
    }
}

//! What the supervisor is asked and what it answers: one line of JSON each, over a unix socket that only root can open.

use serde::{Deserialize, Serialize};

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    /// How the services are.
    Status,
    /// Read the service descriptions again.
    Reload,
    /// Run a service, with its present description.
    Start {
        /// The service.
        name: String,
    },
    /// End a service and leave it so.
    Stop {
        /// The service.
        name: String,
        /// At once, with SIGKILL.
        kill: bool,
    },
    /// End a service and run it again.
    Restart {
        /// The service.
        name: String,
    },
    /// End the supervisor; services go on.
    Quit,
}

/// What a service does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It runs and said that it works.
    Ready,
    /// It runs but has not said yet that it works.
    Starting,
    /// It was asked to end.
    Stopping,
    /// It ended and is run again after a delay.
    Waiting,
    /// Nobody wants it to run.
    Stopped,
}

/// How a service is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Name.
    pub name: String,
    /// What it does.
    pub state: State,
    /// Its process.
    pub pid: Option<i32>,
    /// How often it ended without being asked to, since the supervisor started.
    pub restarts: u32,
    /// How it ended last.
    pub last_exit: Option<String>,
    /// Whether it runs with another description than the present one.
    pub outdated: bool,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Why the request was not carried out.
    pub error: Option<String>,
    /// All services.
    pub services: Vec<Status>,
}

impl Reply {
    /// A refusal.
    #[must_use]
    pub fn error(message: String) -> Self {
        Self { error: Some(message), services: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_read_as_written() {
        let check = |text: &str, expected: Request| {
            assert_eq!(serde_json::from_str::<Request>(text).expect("it is a request"), expected);
        };
        check(r#"{"verb":"status"}"#, Request::Status);
        check(r#"{"verb":"stop","name":"etcd","kill":true}"#, Request::Stop { name: "etcd".into(), kill: true });
        assert!(serde_json::from_str::<Request>(r#"{"verb":"dance"}"#).is_err());
    }
}

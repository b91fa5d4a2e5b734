//! How sessions end, in the words of upstream's error channel; pure.

use bytes::Bytes;
use gantry_api::status::Status;
use serde_json::json;

use crate::runtime::Error;

/// How a session ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With this last frame.
    Status(Bytes),
    /// The other side has left: there is nobody to tell.
    Left,
}

impl From<super::link::Left> for Ended {
    fn from(_: super::link::Left) -> Self {
        Self::Left
    }
}

/// All went well.
pub(super) fn success() -> Ended {
    Ended::Status(Bytes::from_static(br#"{"metadata":{},"status":"Success"}"#))
}

/// It did not.
pub(super) fn failure(status: &Status) -> Ended {
    Ended::Status(serde_json::to_vec(status).unwrap_or_default().into())
}

/// A command that ended with `code`, which is not 0.
pub(super) fn exit(code: i64, why: &str) -> Ended {
    let body = json!({
        "metadata": {},
        "status": "Failure",
        "message": format!("command terminated with non-zero exit code: {why}"),
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
    });
    Ended::Status(body.to_string().into())
}

/// The runtime failed while it was doing `what`.
pub(super) fn broken(what: &str, error: &Error) -> Ended {
    failure(&internal(what, error))
}

/// As [`broken`], before the session has begun.
pub(super) fn internal(what: &str, error: &Error) -> Status {
    Status::internal(format!("{what}: {}", gantry_common::error_chain(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_frame_is_upstreams() {
        let check = |ended: Ended, expected: serde_json::Value| {
            let Ended::Status(bytes) = ended else { panic!("{ended:?}") };
            assert_eq!(serde_json::from_slice::<serde_json::Value>(&bytes).unwrap(), expected);
        };
        check(success(), json!({"metadata": {}, "status": "Success"}));
        check(
            exit(7, "error executing command [sh], exit code 7"),
            json!({
                "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
                "message": "command terminated with non-zero exit code: error executing command [sh], exit code 7",
                "details": {"causes": [{"reason": "ExitCode", "message": "7"}]},
            }),
        );
        let error = Error::Refused { code: 500, message: "no".into() };
        let status = internal("error executing command in container", &error);
        assert_eq!(status.message, "Internal error occurred: error executing command in container: no");
    }
}

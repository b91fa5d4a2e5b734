//! Failures as gRPC statuses. They travel in trailers, which clients limit to some kilobytes; what does not fit is left out here,
//! so that a long failure does not break the call it explains.

use bytes::Bytes;
use gantry_api::status::Status;
use tonic::Code;

/// Bytes of the message, which is sent twice.
const MESSAGE_BYTES_MAX: usize = 1024;
/// Bytes of the Status as JSON. With the message this makes less than 8 KiB of trailers, the least that libraries take.
const STATUS_BYTES_MAX: usize = 3 * 1024;
const CUT: &str = " ... (cut off)";

/// A gRPC status whose details hold the Status.
pub(super) fn failed(code: Code, status: Status) -> tonic::Status {
    let message = cut(status.message.clone(), MESSAGE_BYTES_MAX);
    let details = gantry_proto::failure::pack(code.into(), &message, Bytes::from(fitted(status)));
    tonic::Status::with_details(code, message, details)
}

fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max - CUT.len()));
        text.push_str(CUT);
    }
    text
}

/// The Status as JSON: without its last causes, and with a shorter message, where it is too long.
fn fitted(mut status: Status) -> Vec<u8> {
    let encode = |status: &Status| serde_json::to_vec(status).expect("a Status is plain data");
    loop {
        let encoded = encode(&status);
        if encoded.len() <= STATUS_BYTES_MAX {
            return encoded;
        }
        match status.details.as_mut().map(|details| &mut details.causes).filter(|causes| !causes.is_empty()) {
            Some(causes) => causes.truncate(causes.len() / 2),
            None if status.message.len() > MESSAGE_BYTES_MAX => status.message = cut(status.message, MESSAGE_BYTES_MAX),
            // Names and tokens are bounded elsewhere.
            None => return encoded,
        }
    }
}

#[cfg(test)]
mod tests {
    use gantry_api::status::{Cause, Details};

    use super::*;

    fn unpacked(status: &tonic::Status) -> Status {
        let json = gantry_proto::failure::unpack(status.details()).expect("a Status");
        serde_json::from_slice(&json).expect("a Status")
    }

    #[test]
    fn a_short_status_is_sent_whole() {
        let status = Status::bad_request("no");
        let sent = failed(Code::InvalidArgument, status.clone());
        assert_eq!((sent.code(), sent.message(), unpacked(&sent)), (Code::InvalidArgument, "no", status));
    }

    #[test]
    fn a_long_status_loses_causes_first() {
        let mut status = Status::bad_request(format!("{}€", "x".repeat(1000)));
        let cause = Cause { message: "y".repeat(500), ..Cause::default() };
        status.details = Some(Details { name: "n".to_owned(), causes: vec![cause; 20], ..Details::default() });
        let sent = failed(Code::InvalidArgument, status.clone());
        let got = unpacked(&sent);
        assert_eq!(got.message, status.message);
        assert_eq!(got.details.as_ref().map(|d| (d.name.as_str(), d.causes.len())), Some(("n", 2)));
        assert!(sent.details().len() * 4 / 3 + sent.message().len() < 8 * 1024);
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let sent = failed(Code::Internal, Status::internal("€".repeat(5000)));
        assert!(sent.message().ends_with("€ ... (cut off)") && sent.message().len() <= 1024, "{}", sent.message());
        assert!(unpacked(&sent).message.ends_with("(cut off)"));
    }
}

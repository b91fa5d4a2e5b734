//! The `channel.k8s.io` subprotocols: which messages of a WebSocket belong to which channel. Pure.
//!
//! A message is one byte that names the channel and then its bytes; the base64 forms send text, with the channel as a digit.
//! Version 4 ends with a Status as JSON on the error channel, older ones with text; version 5 can end a channel.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use gantry_api::Value;
use gantry_api::status::Status;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::sessions::channel::is_success;

/// Standard input.
pub(crate) const STDIN: u8 = 0;
/// Standard output.
pub(crate) const STDOUT: u8 = 1;
/// Standard error.
pub(crate) const STDERR: u8 = 2;
/// How it ended.
pub(crate) const ERROR: u8 = 3;
/// The size of the terminal.
pub(crate) const RESIZE: u8 = 4;
/// Version 5: the channel in the next byte carries no more.
const CLOSE: u8 = 255;

/// A subprotocol that both sides know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Protocol {
    /// As the client wrote it; empty where it offered none.
    pub(crate) name: &'static str,
    base64: bool,
    /// The error channel carries a Status; else text.
    status: bool,
    /// Channels can be closed one by one.
    close: bool,
}

const fn protocol(name: &'static str, base64: bool, status: bool, close: bool) -> Protocol {
    Protocol { name, base64, status, close }
}

/// Subprotocols of exec and attach. The nameless one is for clients that offer none, as upstream has it.
pub(crate) const REMOTE_COMMAND: &[Protocol] = &[
    protocol("v5.channel.k8s.io", false, true, true),
    protocol("v4.channel.k8s.io", false, true, false),
    protocol("v3.channel.k8s.io", false, false, false),
    protocol("v2.channel.k8s.io", false, false, false),
    protocol("channel.k8s.io", false, false, false),
    protocol("v4.base64.channel.k8s.io", true, true, false),
    protocol("base64.channel.k8s.io", true, false, false),
    protocol("", false, false, false),
];

/// Subprotocols of port-forwards that are not SPDY.
pub(crate) const PORT_FORWARD: &[Protocol] = &[
    protocol("v4.channel.k8s.io", false, true, false),
    protocol("portforward.k8s.io", false, false, false),
    protocol("v4.base64.channel.k8s.io", true, true, false),
    protocol("", false, false, false),
];

/// Subprotocols of a log, whose messages are its bytes and belong to no channel.
pub(crate) const READER: &[Protocol] = &[
    protocol("binary.k8s.io", false, false, false),
    protocol("base64.binary.k8s.io", true, false, false),
    protocol("", false, false, false),
];

/// What a client's message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decoded {
    Data {
        channel: u8,
        bytes: Bytes,
    },
    /// This channel carries no more.
    Close {
        channel: u8,
    },
    /// Nothing: pings, pongs, empty messages.
    Nothing,
    /// The client says goodbye.
    Goodbye,
}

impl Protocol {
    /// Whether channels are digits and bytes base64.
    pub(crate) fn is_base64(self) -> bool {
        self.base64
    }

    /// A message for the client.
    pub(crate) fn encode(self, channel: u8, bytes: &[u8]) -> Message {
        if self.base64 {
            let mut text = String::with_capacity(1 + bytes.len().div_ceil(3) * 4);
            text.push(char::from(b'0' + channel));
            STANDARD.encode_string(bytes, &mut text);
            return Message::text(text);
        }
        let mut message = BytesMut::with_capacity(1 + bytes.len());
        message.put_u8(channel);
        message.put_slice(bytes);
        Message::Binary(message.freeze())
    }

    /// A message of a stream that has no channels.
    pub(crate) fn encode_whole(self, bytes: Bytes) -> Message {
        if self.base64 { Message::text(STANDARD.encode(&bytes)) } else { Message::Binary(bytes) }
    }

    /// Reads a client's message.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn decode(self, message: Message) -> Result<Decoded, &'static str> {
        let bytes = match message {
            // Upstream takes either form, whatever was agreed on.
            Message::Binary(bytes) => bytes,
            Message::Text(text) => text.into(),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => return Ok(Decoded::Nothing),
            Message::Close(_) => return Ok(Decoded::Goodbye),
        };
        let Some(first) = bytes.first().copied() else { return Ok(Decoded::Nothing) };
        if self.base64 {
            let channel = first.checked_sub(b'0').filter(|c| *c <= 9).ok_or("its first character is no channel")?;
            let decoded = STANDARD.decode(&bytes[1..]).map_err(|_| "it is no base64")?;
            return Ok(Decoded::Data { channel, bytes: Bytes::from(decoded) });
        }
        if self.close && first == CLOSE {
            let channel = bytes.get(1).copied().ok_or("it closes a channel without naming it")?;
            return Ok(Decoded::Close { channel });
        }
        Ok(Decoded::Data { channel: first, bytes: bytes.slice(1..) })
    }

    /// What the error channel says at the end; nothing where silence means success.
    pub(crate) fn farewell(self, status: &Status) -> Option<Bytes> {
        farewell(self.status, status)
    }
}

/// What an error stream says at the end: a Status as JSON, or text that only failures have.
pub(crate) fn farewell(as_status: bool, status: &Status) -> Option<Bytes> {
    if !as_status {
        return (!is_success(status)).then(|| Bytes::from(status.message.clone()));
    }
    if is_success(status) {
        return Some(Bytes::from_static(br#"{"metadata":{},"status":"Success"}"#));
    }
    let mut value = json!(status);
    if let Some(fields) = value.as_object_mut() {
        // As upstream sends it: this is no answer to a request.
        fields.remove("kind");
        fields.remove("apiVersion");
        if fields.get("code").and_then(Value::as_u64) == Some(0) {
            fields.remove("code");
        }
    }
    Some(Bytes::from(value.to_string()))
}

/// The size of a terminal, as clients write it: `{"Width":80,"Height":24}`.
pub(crate) fn size(bytes: &[u8]) -> Option<(u32, u32)> {
    #[derive(serde::Deserialize)]
    struct Size {
        #[serde(alias = "width", rename = "Width", default)]
        width: u16,
        #[serde(alias = "height", rename = "Height", default)]
        height: u16,
    }
    let size: Size = serde_json::from_slice(bytes).ok()?;
    (size.width > 0 && size.height > 0).then_some((size.width.into(), size.height.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Protocol {
        *REMOTE_COMMAND.iter().find(|p| p.name == name).expect("known")
    }

    #[test]
    fn messages_name_their_channel() {
        let check = |name: &str, message: Message, expected: Result<Decoded, &str>| {
            assert_eq!(named(name).decode(message.clone()), expected, "{name} {message:?}");
        };
        let data = |channel: u8, bytes: &'static [u8]| Ok(Decoded::Data { channel, bytes: Bytes::from_static(bytes) });
        let binary = |bytes: &'static [u8]| Message::Binary(Bytes::from_static(bytes));
        check("v5.channel.k8s.io", binary(b"\0ls\n"), data(0, b"ls\n"));
        check("v5.channel.k8s.io", binary(b"\xff\0"), Ok(Decoded::Close { channel: 0 }));
        check("v5.channel.k8s.io", binary(b"\xff"), Err("it closes a channel without naming it"));
        check("v4.channel.k8s.io", binary(b"\xff\0"), data(255, b"\0"));
        check("v4.channel.k8s.io", Message::text("\0ls"), data(0, b"ls"));
        check("v4.channel.k8s.io", binary(b""), Ok(Decoded::Nothing));
        check("v4.channel.k8s.io", Message::Ping(Bytes::new()), Ok(Decoded::Nothing));
        check("v4.channel.k8s.io", Message::Close(None), Ok(Decoded::Goodbye));
        check("base64.channel.k8s.io", Message::text("0bHMK"), data(0, b"ls\n"));
        check("base64.channel.k8s.io", Message::text("0"), data(0, b""));
        check("base64.channel.k8s.io", Message::text("0b"), Err("it is no base64"));
        check("base64.channel.k8s.io", Message::text("xbHMK"), Err("its first character is no channel"));
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for protocol in REMOTE_COMMAND {
            for bytes in [&b""[..], b"a", b"\xff\0\x01 text"] {
                let decoded = protocol.decode(protocol.encode(STDOUT, bytes)).expect("valid");
                let expected = Decoded::Data { channel: STDOUT, bytes: Bytes::copy_from_slice(bytes) };
                assert_eq!(decoded, expected, "{}", protocol.name);
            }
        }
    }

    #[test]
    fn a_log_has_no_channels() {
        let bytes = Bytes::from_static(b"ls\n");
        let sent: Vec<_> = READER.iter().map(|protocol| protocol.encode_whole(bytes.clone())).collect();
        assert_eq!(sent, [Message::Binary(bytes.clone()), Message::text("bHMK"), Message::Binary(bytes)]);
    }

    #[test]
    fn the_end_is_said_as_the_version_has_it() {
        let check = |name: &str, status: &Status, expected: Option<&str>| {
            let got = named(name).farewell(status).map(|b| String::from_utf8(b.to_vec()).expect("text"));
            assert_eq!(got.as_deref(), expected, "{name}");
        };
        let success = crate::sessions::channel::success();
        check("v4.channel.k8s.io", &success, Some(r#"{"metadata":{},"status":"Success"}"#));
        check("channel.k8s.io", &success, None);
        let failed = Status::failure(0, "NonZeroExitCode", "exit code 1").with_cause("ExitCode", "1", "");
        let json = r#"{"details":{"causes":[{"message":"1","reason":"ExitCode"}]},"message":"exit code 1","metadata":{},"reason":"NonZeroExitCode","status":"Failure"}"#;
        check("v5.channel.k8s.io", &failed, Some(json));
        check("v3.channel.k8s.io", &failed, Some("exit code 1"));
    }

    #[test]
    fn sizes_are_read() {
        let check = |text: &str, expected| assert_eq!(size(text.as_bytes()), expected, "{text}");
        check(r#"{"Width":80,"Height":24}"#, Some((80, 24)));
        check(r#"{"width":80,"height":24}"#, Some((80, 24)));
        check(r#"{"Width":0,"Height":24}"#, None);
        check(r#"{"Width":70000,"Height":24}"#, None);
        check("80x24", None);
    }
}

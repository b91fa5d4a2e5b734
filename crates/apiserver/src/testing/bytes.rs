//! Doors for fuzzing: what reads the bytes of a client that upgraded its connection.

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::Message;

use crate::rest::stream::channel::{Decoded, REMOTE_COMMAND, size};
use crate::rest::stream::websocket::{accept, split};

/// Reads a message in one of the subprotocols, chosen by `choice`.
///
/// # Panics
/// When what was read is not what it becomes by writing and reading it again.
pub fn channel_message(choice: u8, bytes: &[u8]) {
    let protocol = REMOTE_COMMAND[usize::from(choice) % REMOTE_COMMAND.len()];
    let message = match std::str::from_utf8(bytes) {
        Ok(text) if choice >= 128 => Message::text(text),
        _ => Message::Binary(Bytes::copy_from_slice(bytes)),
    };
    let _ = size(bytes);
    if let Ok(Decoded::Data { channel, bytes }) = protocol.decode(message) {
        // 255 is written by nobody: in version 5 it means something else.
        if channel < 10 {
            let again = protocol.decode(protocol.encode(channel, &bytes));
            assert_eq!(again, Ok(Decoded::Data { channel, bytes }), "{protocol:?}");
        }
    }
}

/// Reads messages of a WebSocket as the server does, until the client leaves or breaks the rules.
pub async fn websocket(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
    let (mut reader, _writer) = split(accept(io).await);
    while reader.next().await.is_ok() {}
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn any_bytes_will_do() {
        for choice in 0..=255 {
            for bytes in [&b""[..], b"0", b"0bHMK", b"\xff\x00", b"\x00\xfe", b"{\"Width\":1,\"Height\":1}"] {
                channel_message(choice, bytes);
            }
        }
        for bytes in [&b""[..], b"\x82\x81\0\0\0\0x", b"\x82\x01x", b"\xff\xff\xff\xff", b"\x88\x80\0\0\0\0"] {
            let (near, mut far) = tokio::io::duplex(64);
            far.write_all(bytes).await.expect("room");
            drop(far);
            websocket(near).await;
        }
    }
}

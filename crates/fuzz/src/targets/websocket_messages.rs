//! Messages of a WebSocket into the channel protocols: what the server could say reads back, and nothing else harms it.

use bytes::Bytes;
use tokio_tungstenite::tungstenite::Message;

use crate::stream::channel::{Decoded, PORT_FORWARD, REMOTE_COMMAND, size};

pub(crate) fn run(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    let protocols: Vec<_> = REMOTE_COMMAND.iter().chain(PORT_FORWARD).collect();
    let protocol = *protocols[usize::from(choice & 127) % protocols.len()];
    let message = match std::str::from_utf8(bytes) {
        Ok(text) if *choice > 127 => Message::text(text),
        _ => Message::Binary(Bytes::copy_from_slice(bytes)),
    };
    if let Ok(Decoded::Data { channel, bytes: inner }) = protocol.decode(message) {
        assert!(inner.len() < bytes.len(), "{} bytes of {} on channel {channel}", inner.len(), bytes.len());
        if let Some((width, height)) = size(&inner) {
            assert!(width > 0 && height > 0, "a terminal of {width} x {height}");
        }
        let again = protocol.decode(protocol.encode(channel, &inner));
        assert_eq!(again, Ok(Decoded::Data { channel, bytes: inner }));
    }
}

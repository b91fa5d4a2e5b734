//! A script for a peer that knows SPDY: its frames and headers are well-formed, what they do is up to the input. It gets
//! further than plain bytes do, which seldom make two header blocks of one zlib stream.

use bytes::{Bytes, BytesMut};
use gantry_spdy::{
    Headers, Status,
    frame::{Frame, Setting},
    headers::Packer,
};

use super::spdy_connection::serve;

pub(crate) fn run(data: &[u8]) {
    let Some((manner, script)) = data.split_first() else { return };
    let mut bytes = BytesMut::new();
    let mut packer = Packer::default();
    let mut next = 1;
    // A step is what to do, to which stream, and how much.
    for step in script.chunks_exact(3).take(256) {
        let [verb, stream, amount] = [step[0], step[1], step[2]];
        // Mostly streams that are there.
        let stream = if stream < 250 { 2 * (u32::from(stream) % (next / 2 + 1)) + 1 } else { u32::from(stream) };
        let mut block = |count: u8| {
            let headers: Headers = (0..count % 8).map(|n| (format!("name-{n}"), "value ".repeat(n.into()))).collect();
            packer.pack(&headers.encode().expect("it is short")).expect("zlib packs")
        };
        let fin = amount & 1 == 1;
        let frame = match verb % 16 {
            0..=3 => {
                let (unidirectional, headers) = (amount & 6 == 6, block(amount));
                next += 2;
                Frame::SynStream { stream: next - 2, associated: 0, priority: 0, fin, unidirectional, headers }
            }
            4 => Frame::SynStream {
                stream,
                associated: stream,
                priority: amount & 7,
                fin,
                unidirectional: false,
                headers: block(amount),
            },
            5 => Frame::SynReply { stream, fin, headers: block(amount) },
            6 => Frame::Headers { stream, fin, headers: block(amount) },
            7 => Frame::RstStream { stream, status: Status(u32::from(amount) + 1) },
            8 => Frame::Ping(u32::from(amount) + 1),
            9 if amount > 250 => Frame::GoAway { last_good: 0, status: 0 },
            9 => Frame::WindowUpdate { stream, delta: amount.into() },
            10 => Frame::Settings { clear: fin, entries: vec![Setting { flags: 0, id: 4, value: amount.into() }] },
            11 => Frame::Unknown(10 + u16::from(amount)),
            12 => Frame::Data { stream, data: vec![amount; 130 * usize::from(amount)].into(), last: true, fin },
            _ => Frame::Data {
                stream,
                data: Bytes::copy_from_slice(&step[..usize::from(amount % 4).min(3)]),
                last: true,
                fin,
            },
        };
        frame.encode(&mut bytes);
    }
    serve(&bytes, *manner);
}

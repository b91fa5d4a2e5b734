//! What kubectl 1.27 sent for `kubectl exec -i p -- cat` with `hello` on its stdin, taken from its socket.

use gantry_spdy::{End, Headers};
use tokio::io::AsyncWriteExt;

use crate::{raw::Raw, read_all, server};

/// Four SYN_STREAM, one DATA, one FIN.
const EXEC: &[u8] = include_bytes!("kubectl-1.27-exec.bin");

#[tokio::test]
async fn the_streams_of_a_real_kubectl_are_read_however_its_bytes_are_cut() {
    for chunk in [1, 2, 3, 8, 18, 49, 50, EXEC.len()] {
        let (near, mut server, _run) = server(64 * 1024);
        let mut kubectl = Raw::new(near);
        for piece in EXEC.chunks(chunk) {
            kubectl.io.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut streams = Vec::new();
        for (id, kind) in [(1, "error"), (3, "stdin"), (5, "stdout"), (7, "stderr")] {
            let incoming = server.accept().await.unwrap();
            let expected: Headers = [("streamtype", kind)].into_iter().collect();
            assert_eq!((incoming.id(), incoming.headers()), (id, &expected));
            streams.push(incoming.reply(Headers::new()).await.unwrap());
        }
        assert_eq!(read_all(&mut streams[1]).await, b"hello\n");
        assert_eq!(streams[1].end(), Some(End::Finished));
        assert_eq!(streams[0].end(), None);
    }
}

//! Plain HTTP on the TLS port, which is answered as Go's server does: in the protocol that the client understands.

use std::io;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// How a request begins that is not a record of TLS (Go's list).
const BEGINNINGS: [[u8; 5]; 5] = [*b"GET /", *b"HEAD ", *b"POST ", *b"PUT /", *b"OPTIO"];
/// Go's answer to the letter.
const ANSWER: &[u8] = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
/// Of a request this many pieces are read at most.
const PIECES_MAX: usize = 16;

/// Whether the first bytes that came are those of an HTTP request. They stay in the socket: what is TLS is read by whoever
/// shakes hands, and what fails here fails there too.
pub(super) async fn is_spoken(stream: &TcpStream) -> bool {
    let mut first = [0; 5];
    matches!(stream.peek(&mut first).await, Ok(5)) && BEGINNINGS.contains(&first)
}

/// Tells the client what it did, and ends the connection.
///
/// # Errors
/// When the client has gone.
pub(super) async fn refuse(mut stream: TcpStream) -> io::Result<()> {
    // Bytes that nobody read make the kernel reset the connection, and the client may lose the answer.
    let mut piece = [0; 4096];
    for _ in 0..PIECES_MAX {
        if !matches!(stream.try_read(&mut piece), Ok(1..)) {
            break;
        }
    }
    stream.write_all(ANSWER).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn pair(says: &[u8]) -> (TcpStream, TcpStream) {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut client = TcpStream::connect(socket.local_addr().expect("bound")).await.expect("connects");
        client.write_all(says).await.expect("sent");
        (client, socket.accept().await.expect("accepted").0)
    }

    #[tokio::test]
    async fn a_request_is_answered_in_its_protocol() {
        let (mut client, server) = pair(b"GET /version HTTP/1.1\r\nHost: here\r\n\r\n").await;
        assert!(is_spoken(&server).await);
        refuse(server).await.expect("answered");
        let mut said = Vec::new();
        client.read_to_end(&mut said).await.expect("an orderly end");
        assert_eq!(said, ANSWER);
    }

    #[tokio::test]
    async fn what_is_no_request_is_left_to_the_handshake() {
        for says in [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"PRI * HTTP/2.0\r\n", b"GETTY", b"GET"] {
            let (_client, mut server) = pair(says).await;
            assert!(!is_spoken(&server).await, "{says:?}");
            let mut kept = vec![0; says.len()];
            server.read_exact(&mut kept).await.expect("still there");
            assert_eq!(kept, says);
        }
    }
}

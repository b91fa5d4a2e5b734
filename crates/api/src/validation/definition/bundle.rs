//! Whether a bundle of certificates holds one (k8s.io/client-go/transport).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";
/// What every certificate begins with: a sequence.
const SEQUENCE: u8 = 0x30;

/// A block of PEM.
struct Block<'a> {
    kind: &'a str,
    has_headers: bool,
    content: Vec<u8>,
}

/// The next block that can be read, and what follows it.
fn next(text: &str) -> Option<(Block<'_>, &str)> {
    let mut left = text;
    loop {
        let (before, after) = left.split_once(BEGIN)?;
        left = after;
        if !(before.is_empty() || before.ends_with('\n')) {
            continue;
        }
        let Some((kind, body)) = after.split_once(DASHES).filter(|(kind, _)| !kind.contains('\n')) else { continue };
        let Some((body, rest)) = body.split_once(&format!("{DASHES}END {kind}{DASHES}")) else { continue };
        let (headers, lines): (Vec<&str>, Vec<&str>) = body.lines().partition(|line| line.contains(':'));
        let packed: String = lines.concat().split_whitespace().collect();
        if let Ok(content) = STANDARD.decode(packed) {
            let rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
            return Some((Block { kind, has_headers: !headers.is_empty(), content }, rest));
        }
    }
}

/// Why a bundle, in base64, holds no certificate.
pub(super) fn fault(bundle: &str) -> Option<&'static str> {
    let bytes = STANDARD.decode(bundle).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let (mut left, mut certificates) = (&*text, Vec::new());
    while let Some((block, rest)) = next(left) {
        if block.kind == "CERTIFICATE" && !block.has_headers {
            certificates.push(block.content);
        }
        left = rest;
    }
    // One that is right is enough, wherever it stands.
    if certificates.iter().any(|content| content.first() == Some(&SEQUENCE)) {
        None
    } else if !certificates.is_empty() {
        Some("unable to load root certificates: failed to parse certificate: x509: malformed certificate")
    } else if !left.is_empty() {
        Some("unable to load root certificates: unable to parse bytes as PEM block")
    } else {
        Some("unable to load root certificates: no valid certificate authority data seen")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_holds_a_certificate() {
        let pem = |kind: &str, content: &[u8]| {
            format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", STANDARD.encode(content))
        };
        let check = |text: &str, expected: Option<&str>| {
            let found = fault(&STANDARD.encode(text));
            let expected = expected.map(|why| format!("unable to load root certificates: {why}"));
            assert_eq!(found, expected.as_deref(), "{text}");
        };
        check(&pem("CERTIFICATE", &[SEQUENCE, 1]), None);
        check(&format!("# root\n{}{}", pem("PUBLIC KEY", &[1]), pem("CERTIFICATE", &[SEQUENCE, 1])), None);
        check("\n", Some("unable to parse bytes as PEM block"));
        check(&pem("PUBLIC KEY", &[1]), Some("no valid certificate authority data seen"));
        check(&format!("{}{}", pem("CERTIFICATE", &[1]), pem("CERTIFICATE", &[SEQUENCE])), None);
        check(&pem("CERTIFICATE", &[1]), Some("failed to parse certificate: x509: malformed certificate"));
        check("-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----", Some("unable to parse bytes as PEM block"));
    }
}

//! Names of images, as far as the default of a pull policy depends on them: `[domain/]path[:tag][@digest]` as
//! github.com/distribution/reference reads it (`ParseNormalizedNamed`).

/// The longest path of a repository, in bytes.
const PATH_BYTES: usize = 255;
const TAG_BYTES: usize = 128;
/// Digest algorithms and the length of what they give, in hexadecimal digits.
const DIGESTS: [(&str, usize); 3] = [("sha256", 64), ("sha384", 96), ("sha512", 128)];
/// Where an image comes from that names no registry.
const HUB: &str = "docker.io";

/// `Always` for an image that moves (`:latest` or no tag and no digest). What is no name of an image is not pulled at all,
/// and does not move.
pub(super) fn pull_policy(image: &str) -> &'static str {
    match parts(image) {
        Some((Some("latest"), _) | (None, None)) => "Always",
        _ => "IfNotPresent",
    }
}

/// Tag and digest of a name that is one.
fn parts(image: &str) -> Option<(Option<&str>, Option<&str>)> {
    let is_id = image.len() == 64 && image.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if is_id {
        return None;
    }
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let (domain, rest) = domain(name);
    let (path, tag) = rest.split_once(':').map_or((rest, None), |(path, tag)| (path, Some(tag)));
    let official = usize::from(domain == HUB && !path.contains('/')) * "library/".len();
    let valid = is_domain(domain)
        && path.len() + official <= PATH_BYTES
        && path.split('/').all(is_component)
        && tag.is_none_or(is_tag)
        && digest.is_none_or(is_digest);
    valid.then_some((tag, digest))
}

/// The registry and the rest. What stands before the first slash is a registry's where it could not be a part of a path.
fn domain(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (if first == "index.docker.io" { HUB } else { first }, rest)
        }
        _ => (HUB, name),
    }
}

fn is_domain(domain: &str) -> bool {
    let label = |label: &str| {
        let bytes = label.as_bytes();
        let ends = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
        ends(bytes.first()) && ends(bytes.last()) && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
    };
    let (host, port) = match domain.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            let digits = |b: u8| b.is_ascii_hexdigit() || b == b':';
            return !address.is_empty() && address.bytes().all(digits) && (port.is_empty() || is_port(port));
        }
        None => domain.find(':').map_or((domain, ""), |at| domain.split_at(at)),
    };
    host.split('.').all(label) && (port.is_empty() || is_port(port))
}

/// `:5000`
fn is_port(port: &str) -> bool {
    port.strip_prefix(':').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// Lower-case letters and digits, with `.`, `_`, `__` or dashes between them.
fn is_component(part: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut between = part.split(|c: char| u8::try_from(c).is_ok_and(plain)).filter(|gap| !gap.is_empty());
    let ends = |b: Option<u8>| b.is_some_and(plain);
    ends(part.bytes().next())
        && ends(part.bytes().last())
        && between.all(|gap| matches!(gap, "." | "_" | "__") || gap.bytes().all(|b| b == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= TAG_BYTES
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

fn is_digest(digest: &str) -> bool {
    let Some((algorithm, hex)) = digest.split_once(':') else { return false };
    DIGESTS.contains(&(algorithm, hex.len())) && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::pull_policy;

    #[test]
    fn pull_policies() {
        let sum = "0123456789abcdef".repeat(4);
        let long = format!("{}:a", "a/".repeat(128) + "a");
        for (image, moves) in [
            ("nginx", true),
            ("nginx:latest", true),
            ("nginx:1.25", false),
            ("10.0.0.1:5000/nginx", true),
            ("10.0.0.1:5000/a/nginx:2", false),
            ("[fd00::1]:5000/nginx", true),
            ("localhost/a__b/c--d.e_f", true),
            ("Upper/nginx", true),
            (&format!("nginx@sha256:{sum}"), false),
            (&format!("nginx:latest@sha256:{sum}"), true),
            (&format!("a.b/c:latest@sha512:{sum}{sum}"), true),
            // No names: of these nothing is known.
            ("nginx:latest@sha256:00", false),
            (&format!("nginx:latest@md5:{sum}"), false),
            ("", false),
            (" nginx", false),
            ("Nginx", false),
            ("a/Nginx:latest", false),
            ("nginx:", false),
            ("nginx:-a", false),
            ("a..b", false),
            ("a___b", false),
            ("a//b", false),
            ("-a.b/c", false),
            ("a:b/c", false),
            ("{{ image }}", false),
            ("näme", false),
            (&sum, false),
            (&long.replace(":a", ":latest"), false),
        ] {
            assert_eq!(pull_policy(image), if moves { "Always" } else { "IfNotPresent" }, "{image}");
        }
    }
}

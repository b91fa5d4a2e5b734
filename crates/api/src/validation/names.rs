//! Formats of names, labels, keys and addresses with upstream's messages.
//!
//! Source: k8s.io/apimachinery/pkg/util/validation. Each function returns the messages, none when the text is fine.

const QUALIFIED: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
    alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
    and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
    validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
    and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
    and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
    alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for \
    validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  \
    or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const ENV_NAME: &str = "a valid environment variable name must consist only of printable ASCII characters other than '=' \
    (e.g. 'my-name',  or 'MY_NAME',  or 'MyName', regex used for validation is '^[ -<>-~]+$')";

/// `must be between lo and hi, inclusive`.
pub(crate) fn between(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

fn too_long(text: &str, max: usize) -> Option<String> {
    (text.len() > max).then(|| format!("must be no more than {max} bytes"))
}

fn lower_alnum(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

/// First and last byte pass `ends`, every byte passes `ends` or is one of `inner`; not empty.
fn word(text: &str, ends: fn(u8) -> bool, inner: &[u8]) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    ends(*first) && ends(*last) && bytes.iter().all(|b| ends(*b) || inner.contains(b))
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(|part| word(part, lower_alnum, b"-"))
}

/// An RFC 1123 label: at most 63 of `a-z0-9-`.
pub(crate) fn dns_label(text: &str) -> Vec<String> {
    let format = (!word(text, lower_alnum, b"-")).then(|| LABEL.to_owned());
    too_long(text, 63).into_iter().chain(format).collect()
}

/// An RFC 1123 subdomain: at most 253 bytes.
pub(crate) fn dns_subdomain(text: &str) -> Vec<String> {
    let format = (!is_subdomain(text)).then(|| SUBDOMAIN.to_owned());
    too_long(text, 253).into_iter().chain(format).collect()
}

/// An RFC 1035 label: a label that starts with a letter.
pub(crate) fn dns1035_label(text: &str) -> Vec<String> {
    let letter = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    let format = (!letter || !word(text, lower_alnum, b"-")).then(|| LABEL_1035.to_owned());
    too_long(text, 63).into_iter().chain(format).collect()
}

/// The bytes that begin and end qualified names.
fn alnum(b: u8) -> bool {
    b.is_ascii_alphanumeric()
}

/// A label key, annotation key, resource or finalizer name: `[prefix/]name`.
pub(crate) fn qualified_name(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let mut parts = text.split('/');
    let (first, second, third) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    let name = match (second, third) {
        (None, _) => first,
        (Some(name), None) => {
            if first.is_empty() {
                errors.push("prefix part must be non-empty".to_owned());
            } else {
                errors.extend(dns_subdomain(first).into_iter().map(|m| format!("prefix part {m}")));
            }
            name
        }
        _ => {
            return vec![format!(
                "a qualified name {QUALIFIED} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".to_owned());
    } else if let Some(m) = too_long(name, 63) {
        errors.push(format!("name part {m}"));
    }
    if !word(name, alnum, b"-_.") {
        errors.push(format!("name part {QUALIFIED}"));
    }
    errors
}

/// A label value.
pub(crate) fn label_value(text: &str) -> Vec<String> {
    let format = (!text.is_empty() && !word(text, alnum, b"-_.")).then(|| LABEL_VALUE.to_owned());
    too_long(text, 63).into_iter().chain(format).collect()
}

/// A key of a `ConfigMap` or `Secret`.
pub(crate) fn config_key(text: &str) -> Vec<String> {
    let mut errors: Vec<String> = too_long(text, 253).into_iter().collect();
    if text.is_empty() || !text.bytes().all(|b| alnum(b) || b"-_.".contains(&b)) {
        errors.push(CONFIG_KEY.to_owned());
    }
    match text {
        "." => errors.push("must not be '.'".to_owned()),
        ".." => errors.push("must not be '..'".to_owned()),
        _ if text.starts_with("..") => errors.push("must not start with '..'".to_owned()),
        _ => {}
    }
    errors
}

/// A name of an environment variable: printable ASCII without `=`.
pub(crate) fn env_name(text: &str) -> Vec<String> {
    let fine = !text.is_empty() && text.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=');
    if fine { Vec::new() } else { vec![ENV_NAME.to_owned()] }
}

/// A name that only has to be one segment of a URL path (RBAC).
pub(crate) fn path_segment(text: &str) -> Vec<String> {
    if text == "." || text == ".." {
        return vec![format!("may not be '{text}'")];
    }
    ["/", "%"].iter().filter(|c| text.contains(**c)).map(|c| format!("may not contain '{c}'")).collect()
}

/// A port name (IANA_SVC_NAME).
pub(crate) fn port_name(text: &str) -> Vec<String> {
    let mut errors: Vec<String> = too_long(text, 15).into_iter().collect();
    if text.is_empty() || !text.bytes().all(|b| lower_alnum(b) || b == b'-') {
        errors.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !text.bytes().any(|b| b.is_ascii_lowercase()) {
        errors.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        errors.push("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        errors.push("must not begin or end with a hyphen".to_owned());
    }
    errors
}

/// A port number.
pub(crate) fn port_number(port: i64) -> Option<String> {
    (!(1..=65535).contains(&port)).then(|| between(1, 65535))
}

/// An IPv4 or IPv6 address.
pub(crate) fn ip(text: &str) -> Option<String> {
    text.parse::<std::net::IpAddr>()
        .is_err()
        .then(|| "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned())
}

/// A `CIDR` such as `10.0.0.0/24`.
pub(crate) fn cidr(text: &str) -> Option<String> {
    let fine = text.split_once('/').is_some_and(|(address, bits)| {
        let max = match address.parse::<std::net::IpAddr>() {
            Ok(std::net::IpAddr::V4(_)) => 32,
            Ok(std::net::IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        bits.parse::<u8>().is_ok_and(|b| b <= max) && (bits == "0" || !bits.starts_with(['0', '+']))
    });
    (!fine).then(|| "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".to_owned())
}

/// A percentage such as `25%`.
pub(crate) fn percent(text: &str) -> Option<i64> {
    let digits = text.strip_suffix('%')?;
    (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

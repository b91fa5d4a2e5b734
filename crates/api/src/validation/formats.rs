//! Formats that only fields have (names are in [`crate::names`]), with upstream's messages.

const ENV_NAME: &str = "a valid environment variable name must consist only of printable ASCII characters other than '=' \
    (e.g. 'my-name',  or 'MY_NAME',  or 'MyName', regex used for validation is '^[ -<>-~]+$')";

/// `must be between lo and hi, inclusive`.
pub(crate) fn between(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

/// A name of an environment variable: printable ASCII without `=`.
pub(crate) fn env_name(text: &str) -> Vec<String> {
    let fine = !text.is_empty() && text.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=');
    if fine { Vec::new() } else { vec![ENV_NAME.to_owned()] }
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

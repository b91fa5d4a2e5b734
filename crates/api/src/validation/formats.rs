//! Formats that only fields have (names are in [`crate::names`]), with upstream's messages.

use super::at::{At, Out};
use super::read::Seen;
use crate::names;

const ENV_NAME: &str =
    "a valid environment variable name must consist only of printable ASCII characters other than '='";

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

/// `acme.io/foo`: whose it is, and which.
pub(crate) fn domain_prefixed_path(out: &mut Out, at: At<'_>, text: &str) {
    if text.is_empty() {
        out.required(at, "");
        return;
    }
    let Some((domain, path)) = text.split_once('/').filter(|(domain, path)| !domain.is_empty() && !path.is_empty())
    else {
        out.invalid(at, text, "must be a domain-prefixed path (such as \"acme.io/foo\")");
        return;
    };
    out.invalid_each(at, domain, names::dns_subdomain(domain));
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&b);
    if !path.bytes().all(fine) {
        let detail = "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')";
        out.invalid(at, path, detail);
    }
}

/// An address in a form that every reader understands alike; `known` ones were there before, and stay.
pub(crate) fn strict_ip(out: &mut Out, at: At<'_>, text: &str, known: &Seen<'_>) {
    if known.contains(text) {
        return;
    }
    match (text.parse::<std::net::IpAddr>(), ip(text)) {
        (Ok(std::net::IpAddr::V6(v6)), _) if v6.to_ipv4_mapped().is_some() => {
            out.invalid(at, text, "must not be an IPv4-mapped IPv6 address");
        }
        (Err(_), _) if ip(&without_zeros(text)).is_none() => out.invalid(at, text, "must not have leading 0s"),
        (_, Some(detail)) => out.invalid(at, text, &detail),
        _ => {}
    }
}

/// As [`strict_ip`], of a `CIDR`: and none of its bits may be one that it does not cover.
pub(crate) fn strict_cidr(out: &mut Out, at: At<'_>, text: &str, known: &Seen<'_>) {
    if known.contains(text) {
        return;
    }
    let zeros = || {
        let (address, bits) = text.split_once('/')?;
        let bits: u8 = bits.parse().ok().filter(|_| !bits.starts_with('+'))?;
        cidr(&format!("{}/{bits}", without_zeros(address))).is_none().then_some(())
    };
    match cidr(text) {
        Some(_) if zeros().is_some() => out.invalid(at, text, "must not have leading 0s in IP or prefix length"),
        Some(detail) => out.invalid(at, text, &detail),
        None if is_mapped(text) => out.invalid(at, text, "must not have an IPv4-mapped IPv6 address"),
        None if has_host_bits(text) => out.invalid(at, text, "must not have bits set beyond the prefix length"),
        None => {}
    }
}

fn is_mapped(cidr: &str) -> bool {
    let address = cidr.split_once('/').and_then(|(address, _)| address.parse::<std::net::Ipv6Addr>().ok());
    address.is_some_and(|v6| v6.to_ipv4_mapped().is_some())
}

/// An IPv4 address without the zeros that some readers take for octal numbers.
fn without_zeros(text: &str) -> String {
    let part = |part: &str| match part.trim_start_matches('0') {
        "" if !part.is_empty() => "0".to_owned(),
        rest => rest.to_owned(),
    };
    text.split('.').map(part).collect::<Vec<_>>().join(".")
}

/// A percentage such as `25%`.
pub(crate) fn percent(text: &str) -> Option<i64> {
    let digits = text.strip_suffix('%')?;
    (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

fn network(text: &str) -> Option<(u128, u32, u32)> {
    let (address, bits) = text.split_once('/')?;
    let bits: u32 = bits.parse().ok()?;
    Some(match address.parse().ok()? {
        std::net::IpAddr::V4(v4) => (u128::from(u32::from(v4)), bits, 32),
        std::net::IpAddr::V6(v6) => (u128::from(v6), bits, 128),
    })
}

/// The `CIDR` with the bits beyond its prefix cleared, in canonical form.
pub(crate) fn masked(text: &str) -> Option<String> {
    let (address, bits, width) = network(text)?;
    let host = width.checked_sub(bits)?;
    let cleared = if host >= 128 { 0 } else { address >> host << host };
    let ip: std::net::IpAddr = if width == 32 {
        std::net::Ipv4Addr::from(u32::try_from(cleared).ok()?).into()
    } else {
        std::net::Ipv6Addr::from(cleared).into()
    };
    Some(format!("{ip}/{bits}"))
}

/// Whether a valid `CIDR` has bits set beyond its prefix.
pub(crate) fn has_host_bits(text: &str) -> bool {
    network(text).is_some_and(|(address, bits, width)| match width.saturating_sub(bits) {
        0 => false,
        host if host >= 128 => address != 0,
        host => address & ((1 << host) - 1) != 0,
    })
}

/// Whether all addresses of `inner` are in `outer`, which has more.
pub(crate) fn strictly_within(inner: &str, outer: &str) -> bool {
    let (Some((a, a_bits, a_width)), Some((b, b_bits, b_width))) = (network(inner), network(outer)) else {
        return false;
    };
    let host = b_width.saturating_sub(b_bits);
    a_width == b_width && a_bits > b_bits && (host >= 128 || a >> host == b >> host)
}

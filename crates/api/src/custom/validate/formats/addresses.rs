//! Addresses: of things on a network, and of people.

use std::net::{Ipv4Addr, Ipv6Addr};

/// An IPv4 address without the zeros that lead its numbers, which upstream bears with.
fn without_zeros(text: &str) -> String {
    let number = |part: &str| match part.trim_start_matches('0') {
        "" if !part.is_empty() => "0".to_owned(),
        rest => rest.to_owned(),
    };
    text.split('.').map(number).collect::<Vec<_>>().join(".")
}

fn is_plain_ipv4(text: &str) -> bool {
    without_zeros(text).parse::<Ipv4Addr>().is_ok()
}

/// Also one that is written as an IPv6 address, with dots.
pub(super) fn is_ipv4(text: &str) -> bool {
    is_plain_ipv4(text) || (text.contains('.') && text.parse::<Ipv6Addr>().is_ok())
}

pub(super) fn is_ipv6(text: &str) -> bool {
    text.parse::<Ipv6Addr>().is_ok()
}

pub(super) fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let most = if is_plain_ipv4(address) {
        32
    } else if is_ipv6(address) {
        128
    } else {
        return false;
    };
    length.bytes().all(|b| b.is_ascii_digit()) && length.parse::<u32>().is_ok_and(|length| length <= most)
}

/// Six, eight or twenty bytes: two digits each between colons or dashes, or four between dots.
pub(super) fn is_mac(text: &str) -> bool {
    let (separator, digits, counts) = match text.as_bytes().get(2) {
        Some(b':') => (':', 2, [6, 8, 20]),
        Some(b'-') => ('-', 2, [6, 8, 20]),
        _ => ('.', 4, [3, 4, 10]),
    };
    let is_group = |group: &str| group.len() == digits && group.bytes().all(|b| b.is_ascii_hexdigit());
    counts.contains(&text.split(separator).count()) && text.split(separator).all(is_group)
}

/// What Go's `url.ParseRequestURI` reads: an absolute URI, or an absolute path.
pub(super) fn is_uri(text: &str) -> bool {
    if text.is_empty() || text.bytes().any(|b| b.is_ascii_control()) {
        return false;
    }
    if text == "*" {
        return true;
    }
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    };
    let (scheme, rest) = match text.split_once(':') {
        Some(("", _)) => return false,
        Some((scheme, rest)) if is_scheme(scheme) => (scheme, rest),
        _ => ("", text),
    };
    let rest = rest.split_once('?').map_or(rest, |(path, _)| path);
    if !rest.starts_with('/') {
        return !scheme.is_empty();
    }
    let Some(after) = rest.strip_prefix("//").filter(|_| !scheme.is_empty()) else { return is_escaped(rest) };
    let (authority, path) = after.split_at(after.find('/').unwrap_or(after.len()));
    let host = match authority.rsplit_once('@') {
        Some((user, _)) if !user.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&b)) => {
            return false;
        }
        Some((user, host)) if is_escaped(user) => host,
        Some(_) => return false,
        None => authority,
    };
    is_host(host) && is_escaped(path)
}

/// Whether two digits follow each percent sign.
fn is_escaped(text: &str) -> bool {
    text.split('%')
        .skip(1)
        .all(|after| after.as_bytes().get(..2).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit)))
}

/// A host with a port or without.
fn is_host(text: &str) -> bool {
    let is_port =
        |port: &str| port.is_empty() || port.strip_prefix(':').is_some_and(|p| p.bytes().all(|b| b.is_ascii_digit()));
    if text.starts_with('[') {
        return text.rfind(']').is_some_and(|end| is_port(&text[end + 1..]) && is_ipv6_or_zoned(&text[1..end]));
    }
    let name = text.rfind(':').map_or(text, |at| &text[..at]);
    let plain = |b: u8| b >= 0x80 || b.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:[]<>\"%".contains(&b);
    is_port(&text[name.len()..]) && name.bytes().all(plain) && is_escaped(name)
}

fn is_ipv6_or_zoned(text: &str) -> bool {
    is_ipv6(text.split_once("%25").map_or(text, |(address, _)| address))
}

/// What Go's `mail.ParseAddress` reads: `a@b`, or `A B <a@b>`.
pub(super) fn is_email(text: &str) -> bool {
    let text = text.trim_matches([' ', '\t']);
    let spec = match text.strip_suffix('>') {
        Some(head) => match head.rsplit_once('<') {
            Some((name, spec)) if is_phrase(name.trim_matches([' ', '\t'])) => spec,
            _ => return false,
        },
        None => text,
    };
    let Some((local, domain)) = spec.rsplit_once('@') else { return false };
    let literal =
        domain.strip_prefix('[').and_then(|d| d.strip_suffix(']')).is_some_and(|d| !d.contains(['[', ']', '\\']));
    (is_quoted(local) || is_dotted(local)) && (literal || is_dotted(domain))
}

fn is_atom_char(c: char) -> bool {
    !c.is_ascii() || c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c)
}

fn is_dotted(text: &str) -> bool {
    text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atom_char))
}

fn is_quoted(text: &str) -> bool {
    let Some(inner) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return false };
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        let fine = match c {
            '\\' => chars.next().is_some(),
            '"' => false,
            c => c == '\t' || !c.is_control(),
        };
        if !fine {
            return false;
        }
    }
    true
}

/// The name before an address: words, or nothing.
fn is_phrase(text: &str) -> bool {
    is_quoted(text) || text.split([' ', '\t']).all(|word| word.chars().all(|c| is_atom_char(c) || c == '.'))
}

//! The formats of values that are checked; others mean nothing, as upstream (apiextensions-apiserver's list of formats, whose checks
//! are those of kube-openapi's `strfmt`).

mod addresses;
mod numbers;

use std::sync::LazyLock;

use regex::Regex;

pub(super) use numbers::fits as number_fits;

use crate::{duration, names};

/// Whether a text has the format. Dashes in the name of a format count for nothing.
#[must_use]
pub fn fits(format: &str, text: &str) -> bool {
    match format.replace('-', "").as_str() {
        "bsonobjectid" => text.len() == 24 && text.bytes().all(|b| b.is_ascii_hexdigit()),
        "uri" => addresses::is_uri(text),
        "email" => addresses::is_email(text),
        "hostname" => is_hostname(text),
        "ipv4" => addresses::is_ipv4(text),
        "ipv6" => addresses::is_ipv6(text),
        "cidr" => addresses::is_cidr(text),
        "mac" => addresses::is_mac(text),
        "uuid" => is_uuid(text, None, false),
        "uuid3" => is_uuid(text, Some(b'3'), false),
        "uuid4" => is_uuid(text, Some(b'4'), true),
        "uuid5" => is_uuid(text, Some(b'5'), true),
        "isbn" => numbers::is_isbn10(text) || numbers::is_isbn13(text),
        "isbn10" => numbers::is_isbn10(text),
        "isbn13" => numbers::is_isbn13(text),
        "creditcard" => numbers::is_credit_card(text),
        "ssn" => numbers::is_ssn(text),
        "hexcolor" => {
            let digits = text.strip_prefix('#').unwrap_or(text);
            matches!(digits.len(), 3 | 6) && digits.bytes().all(|b| b.is_ascii_hexdigit())
        }
        "rgbcolor" => is_rgb(text),
        "byte" => is_base64(text),
        "date" => is_date(text),
        "datetime" => is_time(text),
        "duration" => is_duration(text),
        "k8sshortname" => names::dns_label(text).is_empty(),
        "k8slongname" => names::dns_subdomain(text).is_empty(),
        _ => true,
    }
}

/// One label with a dash behind its first character at most, or several of which the last is of letters.
fn is_hostname(text: &str) -> bool {
    static NAME: LazyLock<Regex> = LazyLock::new(|| {
        let c = r"a-zA-Z0-9\p{S}\p{L}";
        let pattern =
            format!(r"^(?:[{c}](?:-?[{c}]{{0,62}})?|(?:[{c}](?:[{c}\-]{{0,61}}[{c}])?\.)+[a-zA-Z\p{{L}}]{{2,63}})$");
        Regex::new(&pattern).expect("a valid expression")
    });
    text.len() <= 255 && text.split('.').all(|label| label.len() <= 63) && NAME.is_match(text)
}

fn is_rgb(text: &str) -> bool {
    let inner = text.strip_prefix("rgb(").and_then(|rest| rest.strip_suffix(')'));
    let is_shade = |part: &str| {
        let part = part.trim_matches([' ', '\t', '\n', '\x0c', '\r']);
        let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        digits && (part == "0" || !part.starts_with('0')) && part.parse::<u8>().is_ok()
    };
    inner.is_some_and(|inner| inner.split(',').count() == 3 && inner.split(',').all(is_shade))
}

/// Groups of four, the last one padded; nothing is not enough.
fn is_base64(text: &str) -> bool {
    let data = text.strip_suffix("==").or_else(|| text.strip_suffix('=')).unwrap_or(text);
    !data.is_empty()
        && text.len().is_multiple_of(4)
        && data.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
}

fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 10 && (bytes[4], bytes[7]) == (b'-', b'-') && text.parse::<jiff::civil::Date>().is_ok()
}

/// RFC 3339, without leap seconds; anything may stand before the fraction of a second.
fn is_time(text: &str) -> bool {
    static TIME: LazyLock<Regex> = LazyLock::new(|| {
        let pattern = r"^([0-9]{2}):([0-9]{2}):([0-9]{2})(?:.[0-9]+)?(?:z|[+-][0-9]{2}:[0-9]{2})$";
        Regex::new(pattern).expect("a valid expression")
    });
    let lower = text.to_lowercase();
    let mut parts = lower.split('t');
    let (Some(date), Some(time)) = (parts.next(), parts.next()) else { return false };
    is_date(date) && TIME.captures(time).is_some_and(|at| &at[1] <= "23" && &at[2] <= "59" && &at[3] <= "59")
}

/// Go's durations, or numbers with units anywhere in the text: `3 days`.
fn is_duration(text: &str) -> bool {
    static PART: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"([0-9]+)[\t\n\x0C\r ]*([A-Za-zµ]+)").expect("a valid expression"));
    const WORDS: [&str; 11] = ["ns", "us", "µs", "ms", "s", "m", "h", "hr", "d", "w", "wk"];
    const BEGINNINGS: [&str; 8] = ["nano", "micro", "milli", "sec", "min", "hour", "day", "week"];
    if duration::parse_go(text).is_ok() {
        return true;
    }
    let mut any = false;
    for part in PART.captures_iter(text) {
        if part[1].parse::<i64>().is_err() {
            return false;
        }
        let unit = part[2].to_lowercase();
        any |= WORDS.contains(&unit.as_str()) || BEGINNINGS.iter().any(|word| unit.starts_with(word));
    }
    any
}

/// Thirty-two digits, with dashes or without where they belong. `version`: the digit that tells it; `variant`: whether the next
/// group has to begin as RFC 4122 wants it.
fn is_uuid(text: &str, version: Option<u8>, variant: bool) -> bool {
    let mut digits = Vec::with_capacity(32);
    let mut dashed = None;
    for byte in text.bytes() {
        if byte == b'-' {
            if !matches!(digits.len(), 8 | 12 | 16 | 20) || dashed.replace(digits.len()) == Some(digits.len()) {
                return false;
            }
        } else {
            digits.push(byte.to_ascii_lowercase());
        }
    }
    digits.len() == 32
        && digits.iter().all(u8::is_ascii_hexdigit)
        && version.is_none_or(|version| digits[12] == version)
        && (!variant || matches!(digits[16], b'8' | b'9' | b'a' | b'b'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_their_formats_as_upstream_reads_them() {
        let check = |format: &str, good: &[&str], bad: &[&str]| {
            for text in good {
                assert!(fits(format, text), "{format} {text:?}");
            }
            for text in bad {
                assert!(!fits(format, text), "{format} {text:?}");
            }
        };
        check("bsonobjectid", &["507f1f77bcf86cd799439011"], &["507f1f77bcf86cd79943901", "x07f1f77bcf86cd799439011"]);
        check(
            "uri",
            &["https://a/b?c", "/path", "mailto:x", "*", "http://[::1]:80/"],
            &["", "a/b", "http://a b/", "/%zz", "http://a:b/"],
        );
        check("email", &["a@b", "A B <a.b@c.example>", "\"a b\"@c"], &["a", "@b", "a@", "a..b@c", "a b@c"]);
        check(
            "hostname",
            &["host", "a-b", "my-host.example.com", "1.example.com"],
            &["my-host", "a.b.c", "10.0.0.1", "a_b", ""],
        );
        check("ipv4", &["10.0.0.1", "010.0.0.01", "::ffff:1.2.3.4"], &["10.0.0", "::1", "256.0.0.1"]);
        check("ipv6", &["::1", "::ffff:1.2.3.4"], &["10.0.0.1", "fe80::1%eth0"]);
        check("cidr", &["10.0.0.0/8", "010.0.0.0/8", "fd00::/64"], &["10.0.0.0", "10.0.0.0/33", "10.0.0.0/+8"]);
        check(
            "mac",
            &["00:11:22:33:44:55", "00-11-22-33-44-55", "0000.5e00.5301"],
            &["00:11:22:33:44", "00:11-22:33:44:55"],
        );
        let (four, bare) = ("2e7a3e5c-0a6b-4f0e-9f3a-3f3a0d5a3f3a", "2e7a3e5c0a6b4f0e9f3a3f3a0d5a3f3a");
        check("uuid", &[four, bare], &["2e7a-3e5c0a6b4f0e9f3a3f3a0d5a3f3a", "2e7a3e5c--0a6b4f0e9f3a3f3a0d5a3f3a", ""]);
        check("uuid4", &[four], &["2e7a3e5c-0a6b-4f0e-7f3a-3f3a0d5a3f3a", "2e7a3e5c-0a6b-3f0e-9f3a-3f3a0d5a3f3a"]);
        check("isbn", &["0321751043", "978-0321751041"], &["0321751044", "978-0321751042"]);
        check("isbn10", &["0-8044-2957-X"], &["978-0321751041"]);
        check("creditcard", &["4111 1111 1111 1111"], &["4111 1111 1111 1112", "1234567890123456"]);
        check("ssn", &["111-22-3333", "111 22 3333"], &["111223333", "111-22-333"]);
        check("hexcolor", &["#fff", "FFFFFF"], &["#ff", "#ggg"]);
        check("rgbcolor", &["rgb(0, 10,255)"], &["rgb(0,10)", "rgb(0,10,256)", "rgb(01,1,1)"]);
        check("byte", &["YQ==", "YWI=", "YWJj", "YR=="], &["", "YQ=", "Y=Q=", "YQ=A"]);
        check("date", &["2026-01-02"], &["2026-1-2", "2026-02-30", "20260102"]);
        check(
            "date-time",
            &["2026-01-02T03:04:05Z", "2026-01-02t03:04:05.5+01:00"],
            &["2026-01-02 03:04:05Z", "2026-01-02T03:04:60Z", "2026-01-02T03:04:05"],
        );
        check("duration", &["1h30m", "3 days", "1w", "2Weeks"], &["", "1", "3 lightyears"]);
        check("k8s-short-name", &["a-b"], &["A", "a.b"]);
        check("unheard-of", &["?"], &[]);
    }
}

//! Addresses and ranges that are taken, though they should be written otherwise.

use std::net::{IpAddr, Ipv6Addr};

/// What the writer of an address at `path` should know.
pub(super) fn ip(path: &str, text: &str) -> Option<String> {
    let IpAddr::V6(ip) = text.parse().ok()? else { return None };
    if let Some(mapped) = ip.to_ipv4_mapped() {
        return Some(format!(
            "{path}: non-standard IP address {text:?} will be considered invalid in a future Kubernetes release: use \"{mapped}\""
        ));
    }
    (ip.to_string() != text)
        .then(|| format!("{path}: IPv6 address {text:?} should be in RFC 5952 canonical format (\"{ip}\")"))
}

/// What the writer of a range at `path` should know.
pub(super) fn cidr(path: &str, text: &str) -> Option<String> {
    let (address, bits) = text.split_once('/')?;
    let (ip, bits): (IpAddr, u32) = (address.parse().ok()?, bits.parse().ok()?);
    let width = if ip.is_ipv4() { 32 } else { 128 };
    let network = network(ip, width - bits.min(width));
    if network != ip {
        return Some(format!(
            "{path}: CIDR value {text:?} is ambiguous in this context (should be \"{network}/{bits}\" or \"{ip}/{width}\"?)"
        ));
    }
    let canonical = format!("{ip}/{bits}");
    (ip.is_ipv6() && canonical != text)
        .then(|| format!("{path}: IPv6 CIDR value {text:?} should be in RFC 5952 canonical format ({canonical:?})"))
}

/// The address with its last `host` bits cleared.
fn network(ip: IpAddr, host: u32) -> IpAddr {
    match ip {
        IpAddr::V4(v4) => {
            IpAddr::V4((u32::from(v4).checked_shr(host).unwrap_or(0)).checked_shl(host).unwrap_or(0).into())
        }
        IpAddr::V6(v6) => {
            let kept = u128::from(v6).checked_shr(host).unwrap_or(0).checked_shl(host).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from(kept))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_odd_forms_are_told() {
        for (text, expected) in [
            ("10.0.0.1", None),
            ("2001:db8::1", None),
            (
                "2001:DB8::1",
                Some("p: IPv6 address \"2001:DB8::1\" should be in RFC 5952 canonical format (\"2001:db8::1\")"),
            ),
            (
                "::ffff:1.2.3.4",
                Some(
                    "p: non-standard IP address \"::ffff:1.2.3.4\" will be considered invalid in a future Kubernetes \
                     release: use \"1.2.3.4\"",
                ),
            ),
        ] {
            assert_eq!(ip("p", text).as_deref(), expected, "{text}");
        }
        for (text, expected) in [
            ("10.0.0.0/8", None),
            ("0.0.0.0/0", None),
            ("::/0", None),
            ("2001:db8::/64", None),
            (
                "10.1.2.3/8",
                Some(
                    "p: CIDR value \"10.1.2.3/8\" is ambiguous in this context (should be \"10.0.0.0/8\" or \"10.1.2.3/32\"?)",
                ),
            ),
            (
                "2001:DB8::/64",
                Some("p: IPv6 CIDR value \"2001:DB8::/64\" should be in RFC 5952 canonical format (\"2001:db8::/64\")"),
            ),
        ] {
            assert_eq!(cidr("p", text).as_deref(), expected, "{text}");
        }
    }
}

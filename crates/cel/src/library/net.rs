//! Addresses and networks.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::opaque::Opaque;
use super::strings::made;
use super::{NO_OVERLOAD, Result, fail};
use crate::eval::Context;
use crate::registry::{Entry, entry};
use crate::value::Value;

const TEST: &[&str] = &["net.IP.() bool"];

pub(super) const ENTRIES: &[Entry] = &[
    entry("ip", ip, &["(string) net.IP", "net.CIDR.() net.IP"]),
    entry("isIP", |_, a| Ok(Value::Bool(parse_ip(text(a)?).is_ok())), &["(string) bool"]),
    entry("ip.isCanonical", is_canonical, &["(string) bool"]),
    entry("family", |_, a| Ok(Value::Int(if address(a)?.is_ipv4() { 4 } else { 6 })), &["net.IP.() int"]),
    entry("isUnspecified", |_, a| Ok(Value::Bool(address(a)?.is_unspecified())), TEST),
    entry("isLoopback", |_, a| Ok(Value::Bool(address(a)?.is_loopback())), TEST),
    entry("isLinkLocalMulticast", |_, a| Ok(Value::Bool(is_link_local_multicast(address(a)?))), TEST),
    entry("isLinkLocalUnicast", |_, a| Ok(Value::Bool(is_link_local_unicast(address(a)?))), TEST),
    entry("isGlobalUnicast", |_, a| Ok(Value::Bool(is_global_unicast(address(a)?))), TEST),
    entry("cidr", cidr, &["(string) net.CIDR"]),
    entry("isCIDR", |_, a| Ok(Value::Bool(Cidr::parse(text(a)?).is_ok())), &["(string) bool"]),
    entry("containsIP", contains_ip, &["net.CIDR.(string) bool", "net.CIDR.(net.IP) bool"]),
    entry("containsCIDR", contains_cidr, &["net.CIDR.(string) bool", "net.CIDR.(net.CIDR) bool"]),
    entry("prefixLength", |_, a| Ok(Value::Int(i64::from(network(a)?.bits))), &["net.CIDR.() int"]),
    entry("masked", |_, a| Ok(opaque(Opaque::Cidr(network(a)?.masked()))), &["net.CIDR.() net.CIDR"]),
    entry("string", show, &["(net.IP) string", "(net.CIDR) string"]),
];

/// A network as it was written: bits after the prefix may be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    pub(super) bits: u8,
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Cidr {
    fn parse(text: &str) -> std::result::Result<Self, String> {
        let wrong = |why: &str| {
            format!("network address parse error during conversion from string: netip.ParsePrefix({text:?}): {why}")
        };
        let Some((address, bits)) = text.rsplit_once('/') else { return Err(wrong("no '/'")) };
        if address.contains('%') && without_zone(address).is_some() {
            return Err(wrong("IPv6 zones cannot be present in a prefix"));
        }
        let address: IpAddr = address.parse().map_err(|_| wrong(&no_address(address)))?;
        let plain =
            !bits.is_empty() && bits.bytes().all(|b| b.is_ascii_digit()) && (bits.len() == 1 || !bits.starts_with('0'));
        let Some(bits) = plain.then(|| bits.parse::<i64>().ok()).flatten() else {
            return Err(wrong(&format!("bad bits after slash: {bits:?}")));
        };
        let Some(bits) = u8::try_from(bits).ok().filter(|bits| *bits <= if address.is_ipv4() { 32 } else { 128 })
        else {
            return Err(wrong("prefix length out of range"));
        };
        if is_mapped(address) {
            return Err(format!("IPv4-mapped IPv6 address {text:?} is not allowed"));
        }
        Ok(Self { address, bits })
    }

    /// As [`Self::parse`], with the error of a conversion.
    fn convert(text: &str) -> Result<Self> {
        let wrap = |why| fail(format!("network address parse error during conversion from string: {why}"));
        Self::parse(text).or_else(wrap)
    }

    fn masked(self) -> Self {
        Self { address: mask(self.address, self.bits), bits: self.bits }
    }

    fn contains(self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4() && mask(self.address, self.bits) == mask(address, self.bits)
    }
}

fn mask(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let keep = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4((u32::from(v4) & keep).into())
        }
        IpAddr::V6(v6) => {
            let keep = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6((u128::from(v6) & keep).into())
        }
    }
}

fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

/// The address before a zone, if it is one.
fn without_zone(text: &str) -> Option<Ipv6Addr> {
    text.split_once('%').filter(|(_, zone)| !zone.is_empty())?.0.parse().ok()
}

fn parse_ip(text: &str) -> std::result::Result<IpAddr, String> {
    if without_zone(text).is_some() {
        return Err(format!("IP address {text:?} with zone value is not allowed"));
    }
    let address: IpAddr = text
        .parse()
        .map_err(|_| format!("IP Address {text:?} parse error during conversion from string: {}", no_address(text)))?;
    if is_mapped(address) {
        return Err(format!("IPv4-mapped IPv6 address {text:?} is not allowed"));
    }
    Ok(address)
}

/// Why a text is no address, in the words of Go's `netip.ParseAddr`.
fn no_address(text: &str) -> String {
    let (why, at) = match text.find(['.', ':', '%']).map(|at| text.as_bytes()[at]) {
        Some(b'.') => no_ipv4(text),
        Some(b':') => no_ipv6(text),
        Some(_) => ("missing IPv6 address", ""),
        None => ("unable to parse IP", ""),
    };
    let at = if at.is_empty() { String::new() } else { format!(" (at {at:?})") };
    format!("ParseAddr({text:?}): {why}{at}")
}

/// What is wrong and, where it is told, from where on.
type Fault<'a> = (&'static str, &'a str);

fn no_ipv4(text: &str) -> Fault<'_> {
    let (mut fields, mut field) = (1, "");
    for (at, c) in text.char_indices() {
        match c {
            '0'..='9' => {
                if field == "0" {
                    return ("IPv4 field has octet with leading zero", "");
                }
                field = &text[at - field.len()..=at];
                if field.len() > 3 || field.parse::<u8>().is_err() {
                    return ("IPv4 field has value >255", "");
                }
            }
            '.' if field.is_empty() || at + 1 == text.len() => {
                return ("IPv4 field must have at least one digit", &text[at..]);
            }
            '.' if fields == 4 => return ("IPv4 address too long", ""),
            '.' => (fields, field) = (fields + 1, ""),
            _ => return ("unexpected character", &text[at..]),
        }
    }
    ("IPv4 address too short", "")
}

fn no_ipv6(text: &str) -> Fault<'_> {
    let whole = match text.split_once('%') {
        Some((_, "")) => return ("zone must be a non-empty string", ""),
        Some((whole, _)) => whole,
        None => text,
    };
    let start = whole.strip_prefix("::");
    let (mut rest, mut gap, mut groups) = (start.unwrap_or(whole), start.is_some(), 0);
    while groups < 8 {
        let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
        match (digits, &rest.as_bytes()[digits..]) {
            (0, _) => return ("each colon-separated field must have at least one digit", rest),
            (5.., _) => return ("each group must have 4 or less digits", rest),
            (_, [b'.', ..]) if !gap && groups != 6 => {
                return ("embedded IPv4 address must replace the final 2 fields of the address", rest);
            }
            (_, [b'.', ..]) if groups > 6 => {
                return ("too many hex fields to fit an embedded IPv4 at the end of the address", rest);
            }
            (_, [b'.', ..]) if rest.parse::<Ipv4Addr>().is_err() => return no_ipv4(rest),
            (_, [b'.', ..]) => (rest, groups) = ("", groups + 2),
            _ => (rest, groups) = (&rest[digits..], groups + 1),
        }
        match rest.as_bytes() {
            [] => break,
            [b':'] => return ("colon must be followed by more characters", rest),
            [b':', b':', ..] if gap => return ("multiple :: in address", &rest[1..]),
            [b':', b':', ..] => (rest, gap) = (&rest[2..], true),
            [b':', ..] => rest = &rest[1..],
            _ => return ("unexpected character, want colon", rest),
        }
        if rest.is_empty() {
            break;
        }
    }
    match (rest, gap) {
        ("", true) => ("the :: must expand to at least one field of zeros", ""),
        ("", false) => ("address string too short", ""),
        _ => ("trailing garbage after address", rest),
    }
}

fn is_link_local_multicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.octets()[..3] == [224, 0, 0],
        IpAddr::V6(v6) => v6.segments()[0] & 0xff0f == 0xff02,
    }
}

fn is_link_local_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

fn is_global_unicast(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    let special = broadcast || address.is_unspecified() || address.is_loopback() || address.is_multicast();
    !special && !is_link_local_unicast(address)
}

fn opaque<'a>(opaque: Opaque) -> Value<'a> {
    Value::Opaque(Arc::new(opaque))
}

fn text<'v>(args: &'v [Value<'_>]) -> Result<&'v str> {
    match args {
        [Value::String(text)] => Ok(text),
        _ => Err(NO_OVERLOAD),
    }
}

fn address(args: &[Value<'_>]) -> Result<IpAddr> {
    match args.first() {
        Some(Value::Opaque(opaque)) => match **opaque {
            Opaque::Ip(ip) => Ok(ip),
            _ => Err(NO_OVERLOAD),
        },
        _ => Err(NO_OVERLOAD),
    }
}

fn network(args: &[Value<'_>]) -> Result<Cidr> {
    match args.first() {
        Some(Value::Opaque(opaque)) => match **opaque {
            Opaque::Cidr(cidr) => Ok(cidr),
            _ => Err(NO_OVERLOAD),
        },
        _ => Err(NO_OVERLOAD),
    }
}

fn ip<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    if let Ok(cidr) = network(args) {
        return Ok(opaque(Opaque::Ip(cidr.address)));
    }
    parse_ip(text(args)?).map_or_else(fail, |ip| Ok(opaque(Opaque::Ip(ip))))
}

fn is_canonical<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let text = text(args)?;
    parse_ip(text).map_or_else(fail, |ip| Ok(Value::Bool(ip.to_string() == text)))
}

fn cidr<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    Cidr::convert(text(args)?).map(|cidr| opaque(Opaque::Cidr(cidr)))
}

fn contains_ip<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let cidr = network(args)?;
    let ip = match &args[1..] {
        [Value::String(text)] => parse_ip(text).or_else(fail)?,
        other => address(other)?,
    };
    Ok(Value::Bool(cidr.contains(ip)))
}

fn contains_cidr<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let outer = network(args)?;
    let inner = match &args[1..] {
        [Value::String(text)] => Cidr::convert(text)?,
        other => network(other)?,
    };
    Ok(Value::Bool(outer.bits <= inner.bits && outer.contains(inner.address)))
}

fn show<'a>(context: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let text = match network(args) {
        Ok(cidr) => cidr.to_string(),
        Err(_) => address(args)?.to_string(),
    };
    made(context, text)
}

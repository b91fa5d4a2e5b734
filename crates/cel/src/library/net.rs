//! Addresses and networks.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
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
        let Ok(address) = address.parse::<IpAddr>() else { return Err(wrong("unable to parse IP")) };
        let plain =
            !bits.is_empty() && bits.bytes().all(|b| b.is_ascii_digit()) && (bits.len() == 1 || !bits.starts_with('0'));
        let Some(bits) = plain.then(|| bits.parse::<u8>().ok()).flatten() else {
            return Err(wrong(&format!("bad bits after slash: {bits:?}")));
        };
        if bits > if address.is_ipv4() { 32 } else { 128 } {
            return Err(wrong("prefix length out of range"));
        }
        if is_mapped(address) {
            return Err(format!("IPv4-mapped IPv6 address {text:?} is not allowed"));
        }
        Ok(Self { address, bits })
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

fn parse_ip(text: &str) -> std::result::Result<IpAddr, String> {
    if let Some((address, _)) = text.split_once('%')
        && address.parse::<Ipv6Addr>().is_ok()
    {
        return Err(format!("IP address {text:?} with zone value is not allowed"));
    }
    let address: IpAddr = text.parse().map_err(|_| {
        format!(
            "IP Address {text:?} parse error during conversion from string: ParseAddr({text:?}): unable to parse IP"
        )
    })?;
    if is_mapped(address) {
        return Err(format!("IPv4-mapped IPv6 address {text:?} is not allowed"));
    }
    Ok(address)
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
    Cidr::parse(text(args)?).map_or_else(fail, |cidr| Ok(opaque(Opaque::Cidr(cidr))))
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
        [Value::String(text)] => Cidr::parse(text).or_else(fail)?,
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

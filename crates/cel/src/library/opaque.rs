//! Values that only functions look into.

use std::fmt;
use std::net::IpAddr;

use super::formats::Format;
use super::image::Image;
use super::net::Cidr;
use super::quantity::Amount;
use super::url::Url;

/// Such a value.
#[derive(Debug, Clone)]
pub enum Opaque {
    /// An amount.
    Quantity(Amount),
    /// A version.
    Semver(semver::Version),
    /// An address.
    Ip(IpAddr),
    /// A network.
    Cidr(Cidr),
    /// A URL.
    Url(Url),
    /// A named format.
    Format(&'static Format),
    /// A reference to a container image.
    Image(Image),
}

impl Opaque {
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Quantity(_) => "kubernetes.Quantity",
            Self::Semver(_) => "kubernetes.Semver",
            Self::Ip(_) => "net.IP",
            Self::Cidr(_) => "net.CIDR",
            Self::Url(_) => "kubernetes.URL",
            Self::Format(_) => "kubernetes.NamedFormat",
            Self::Image(_) => "kubernetes.Image",
        }
    }

    /// Bytes of an address, or of the prefix of a network; 1 for all else.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Ip(IpAddr::V4(_)) => 4,
            Self::Ip(IpAddr::V6(_)) => 16,
            Self::Cidr(cidr) => u64::from(cidr.bits.div_ceil(8)),
            _ => 1,
        }
    }
}

impl PartialEq for Opaque {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Quantity(a), Self::Quantity(b)) => a.exact == b.exact,
            (Self::Semver(a), Self::Semver(b)) => a.cmp_precedence(b).is_eq(),
            (Self::Ip(a), Self::Ip(b)) => a == b,
            (Self::Cidr(a), Self::Cidr(b)) => a == b,
            (Self::Url(a), Self::Url(b)) => a == b,
            (Self::Format(a), Self::Format(b)) => a.name == b.name,
            (Self::Image(a), Self::Image(b)) => a == b,
            _ => false,
        }
    }
}

impl fmt::Display for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quantity(amount) => amount.exact.fmt(f),
            Self::Semver(version) => version.fmt(f),
            Self::Ip(ip) => ip.fmt(f),
            Self::Cidr(cidr) => cidr.fmt(f),
            Self::Url(url) => f.write_str(&url.text),
            Self::Format(format) => f.write_str(format.name),
            Self::Image(image) => f.write_str(&image.text),
        }
    }
}

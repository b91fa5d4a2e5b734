//! `--service-cluster-ip-range`: where Services get their cluster IPs from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::registry::Family;

/// Bits of a range's addresses, at least: it must have eight addresses, as upstream wants it.
const BITS_MIN: u8 = 3;
/// Bits of the prefix of a range of IPv6, at least, as upstream wants it.
const V6_PREFIX_MIN: u8 = 64;

/// One range, or two of different families. The first one's family is that of Services that do not ask for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceRanges(Vec<IpNet>);

impl ServiceRanges {
    /// All ranges, the first one's family first.
    #[must_use]
    pub fn all(&self) -> &[IpNet] {
        &self.0
    }

    /// The families of the ranges, in their order.
    pub(crate) fn families(&self) -> Vec<Family> {
        self.0.iter().map(|range| Family::of(range.addr())).collect()
    }

    /// The first address of the first range: default/kubernetes.
    #[must_use]
    pub fn first_address(&self) -> IpAddr {
        match self.0[0] {
            IpNet::V4(range) => Ipv4Addr::from(u32::from(range.network()) + 1).into(),
            IpNet::V6(range) => Ipv6Addr::from(u128::from(range.network()) + 1).into(),
        }
    }
}

impl std::str::FromStr for ServiceRanges {
    type Err = String;

    /// `range` or `range,range`.
    fn from_str(text: &str) -> Result<Self, String> {
        let texts: Vec<&str> = text.split(',').map(str::trim).collect();
        if texts.len() > 2 {
            return Err("--service-cluster-ip-range must not contain more than two entries".to_owned());
        }
        let mut ranges = Vec::new();
        for (at, text) in texts.into_iter().enumerate() {
            let what = if at == 0 { "a valid cidr" } else { "an ip net" };
            let range = text.parse::<IpNet>().map_err(|_| format!("service-cluster-ip-range[{at}] is not {what}"))?;
            if range.max_prefix_len() - range.prefix_len() < BITS_MIN {
                return Err("the service cluster IP range must be at least 8 IP addresses".to_owned());
            }
            if matches!(range, IpNet::V6(_)) && range.prefix_len() < V6_PREFIX_MIN {
                let found = range.prefix_len();
                return Err(format!("shortest allowed prefix length for service CIDR is {V6_PREFIX_MIN}, got {found}"));
            }
            ranges.push(range.trunc());
        }
        if let [first, second] = ranges.as_slice()
            && first.max_prefix_len() == second.max_prefix_len()
        {
            let why = "--service-cluster-ip-range[0] and --service-cluster-ip-range[1] must be of different IP family";
            return Err(why.to_owned());
        }
        Ok(Self(ranges))
    }
}

impl std::fmt::Display for ServiceRanges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let texts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_one_of_a_family() {
        let check = |text: &str, expected: Result<(&str, &str), &str>| {
            let found = text.parse::<ServiceRanges>().map(|r| (r.to_string(), r.first_address().to_string()));
            let expected = expected.map(|(shown, first)| (shown.to_owned(), first.to_owned()));
            assert_eq!(found, expected.map_err(str::to_owned), "{text}");
        };
        check("10.96.0.0/16", Ok(("10.96.0.0/16", "10.96.0.1")));
        check("10.96.7.9/16", Ok(("10.96.0.0/16", "10.96.0.1")));
        check("2001:db8::/112", Ok(("2001:db8::/112", "2001:db8::1")));
        check("10.0.0.0/8, fd00::/64", Ok(("10.0.0.0/8,fd00::/64", "10.0.0.1")));
        check("fd00::/108,10.96.0.0/29", Ok(("fd00::/108,10.96.0.0/29", "fd00::1")));
        let same = "--service-cluster-ip-range[0] and --service-cluster-ip-range[1] must be of different IP family";
        check("10.96.0.0/16,10.97.0.0/16", Err(same));
        check("fd00::/112,fd01::/112", Err(same));
        check("a,b,c", Err("--service-cluster-ip-range must not contain more than two entries"));
        check("10.96.0.0", Err("service-cluster-ip-range[0] is not a valid cidr"));
        check("10.96.0.0/16,x", Err("service-cluster-ip-range[1] is not an ip net"));
        check("10.96.0.0/30", Err("the service cluster IP range must be at least 8 IP addresses"));
        check("fd00::/126", Err("the service cluster IP range must be at least 8 IP addresses"));
        check("fd00::/48", Err("shortest allowed prefix length for service CIDR is 64, got 48"));
    }
}

//! The parts of the cluster CIDR.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// More parts than this are not tried: as many nodes no cluster has.
const PARTS_MAX: u128 = 1 << 16;

/// Hands out parts in turn, so that a part that was given back is not reused at once.
#[derive(Debug)]
pub(super) struct Ranges {
    cluster: IpNet,
    prefix: u8,
    excluded: Option<IpNet>,
    next: u128,
}

fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

impl Ranges {
    /// Parts of `cluster` with `prefix` bits, none of which touches `excluded`. `prefix` lies between the cluster's and 32 or 128.
    pub(super) fn new(cluster: IpNet, prefix: u8, excluded: Option<IpNet>) -> Self {
        Self { cluster: cluster.trunc(), prefix, excluded, next: 0 }
    }

    fn count(&self) -> u128 {
        let bits = u32::from(self.prefix.saturating_sub(self.cluster.prefix_len()));
        1u128.checked_shl(bits).unwrap_or(PARTS_MAX).min(PARTS_MAX)
    }

    fn part(&self, index: u128) -> Option<IpNet> {
        let step = u32::from(self.cluster.max_prefix_len() - self.prefix);
        let offset = index.checked_shl(step)?;
        let address = match self.cluster.network() {
            IpAddr::V4(base) => {
                IpAddr::V4(Ipv4Addr::from_bits(base.to_bits().checked_add(u32::try_from(offset).ok()?)?))
            }
            IpAddr::V6(base) => IpAddr::V6(Ipv6Addr::from_bits(base.to_bits().checked_add(offset)?)),
        };
        IpNet::new(address, self.prefix).ok()
    }

    /// The next part that touches none of `taken`.
    pub(super) fn next_free(&mut self, taken: &[IpNet]) -> Option<IpNet> {
        let count = self.count();
        for step in 0..count {
            let index = (self.next + step) % count;
            let Some(part) = self.part(index) else { continue };
            if !taken.iter().chain(&self.excluded).any(|t| overlap(t, &part)) {
                self.next = (index + 1) % count;
                return Some(part);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().expect("valid")
    }

    #[test]
    fn parts_come_in_turn_and_skip_what_is_taken() {
        let mut ranges = Ranges::new(net("10.244.0.0/22"), 24, Some(net("10.244.1.128/25")));
        let mut check = |taken: &[&str], expected: Option<&str>| {
            let taken: Vec<IpNet> = taken.iter().map(|t| net(t)).collect();
            assert_eq!(ranges.next_free(&taken), expected.map(net), "{taken:?}");
        };
        check(&[], Some("10.244.0.0/24"));
        check(&["10.244.0.0/24"], Some("10.244.2.0/24"));
        check(&["10.244.0.0/24"], Some("10.244.3.0/24"));
        check(&["10.244.2.0/23"], Some("10.244.0.0/24"));
        check(&["10.244.0.0/16"], None);
    }

    #[test]
    fn ipv6_works_too() {
        let mut ranges = Ranges::new(net("fd00:10::/48"), 64, None);
        assert_eq!(ranges.next_free(&[]), Some(net("fd00:10::/64")));
        assert_eq!(ranges.next_free(&[]), Some(net("fd00:10:0:1::/64")));
    }

    proptest! {
        #[test]
        fn no_part_is_given_twice(count in 1..70usize, prefix in 24..30u8) {
            let mut ranges = Ranges::new(net("10.244.0.0/23"), prefix, None);
            let room = 1usize << (prefix - 23);
            let mut taken = Vec::new();
            for _ in 0..count {
                taken.extend(ranges.next_free(&taken));
            }
            let distinct: BTreeSet<_> = taken.iter().collect();
            prop_assert_eq!(distinct.len(), taken.len());
            prop_assert_eq!(taken.len(), count.min(room));
        }
    }
}

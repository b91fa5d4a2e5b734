//! The machine's own address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The address of one family from which this machine reaches what is far away: that of the interface of its default route.
/// Nothing where it reaches nothing so.
pub(super) fn own(v6: bool) -> Option<IpAddr> {
    // Addresses of documentation, which are nowhere near. Nothing is sent: the kernel only looks for the way.
    let (own, far): (IpAddr, IpAddr) = if v6 {
        (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into())
    } else {
        (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into())
    };
    let socket = UdpSocket::bind(SocketAddr::new(own, 0)).ok()?;
    socket.connect(SocketAddr::new(far, 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(reaches_others)
}

/// Whether others than the machine and its links can know the address.
fn reaches_others(address: &IpAddr) -> bool {
    let is_near = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !is_near && !address.is_loopback() && !address.is_unspecified() && !address.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_others_can_reach_is_taken() {
        for (text, expected) in [
            ("192.0.2.1", true),
            ("10.0.0.1", true),
            ("2001:db8::1", true),
            ("127.0.0.1", false),
            ("::1", false),
            ("0.0.0.0", false),
            ("::", false),
            ("169.254.1.1", false),
            ("fe80::1", false),
        ] {
            assert_eq!(reaches_others(&text.parse().expect("an address")), expected, "{text}");
        }
        for v6 in [false, true] {
            assert!(own(v6).is_none_or(|address| address.is_ipv6() == v6 && reaches_others(&address)));
        }
    }
}

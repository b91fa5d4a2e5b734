use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::element::{Frontend, Protocol};

fn elements() -> impl Strategy<Value = Elements> {
    let key = (0u8..6, 0u16..4, 0u32..3).prop_map(|(kind, port, slot)| {
        let ip = Ipv4Addr::new(10, 96, 0, u8::try_from(port).expect("small"));
        let frontend = if slot == 0 {
            Frontend::Service(ip, Protocol::Tcp, port)
        } else {
            Frontend::NodePort(Protocol::Udp, port)
        };
        match kind {
            0 => (Key::Spread(frontend), Data::Random(slot + 1)),
            1 | 2 => (Key::Slot(frontend, slot), Data::Endpoint(ip, u16::from(kind))),
            3 => (Key::ClusterIp(ip), Data::Member),
            4 => (Key::Hairpin(ip), Data::Member),
            _ => (Key::Refused(Protocol::Tcp, port), if slot == 0 { Data::Refuse } else { Data::Drop }),
        }
    });
    proptest::collection::btree_map(key.clone().prop_map(|(k, _)| k), key.prop_map(|(_, d)| d), 0..12)
}

proptest! {
    #[test]
    fn applying_the_difference_gives_the_other(a in elements(), b in elements()) {
        let change = difference(&a, &b);
        let mut reached = a.clone();
        change.apply_to(&mut reached);
        prop_assert_eq!(&reached, &b);
        prop_assert!(difference(&b, &b).is_empty());
        // nft refuses to delete what is not there.
        prop_assert!(change.delete.iter().all(|(k, d)| a.get(k) == Some(d)));
    }

    #[test]
    fn changing_service_by_service_keeps_the_kernel_at_the_intent(
        steps in proptest::collection::vec((0u8..3, elements()), 1..12),
        batch in 1usize..4,
    ) {
        let mut intent = Intent::default();
        let mut kernel = Elements::new();
        let mut wanted: BTreeMap<Name, Elements> = BTreeMap::new();
        for some in steps.chunks(batch) {
            let before = kernel.clone();
            let mut change = Change::default();
            for (service, elements) in some {
                // Services share only elements that mean the same for all of them.
                let own = |(key, _): &(&Key, &Data)| match key {
                    Key::ClusterIp(_) | Key::Hairpin(_) => true,
                    Key::Spread(f) | Key::Slot(f, _) => port_of(*f) % 3 == u16::from(*service),
                    Key::Masquerade(_, p) | Key::Refused(_, p) => p % 3 == u16::from(*service),
                };
                let value = |key: &Key, data: &Data| if matches!(key, Key::ClusterIp(_) | Key::Hairpin(_)) { Data::Member } else { *data };
                let mine: Elements = elements.iter().filter(own).map(|(k, d)| (*k, value(k, d))).collect();
                let name = Name::new("ns", service.to_string());
                wanted.insert(name.clone(), mine.clone());
                intent.set(&name, mine, &mut change);
            }
            prop_assert!(change.delete.iter().all(|(k, d)| before.get(k) == Some(d)));
            prop_assert!(change.add.keys().all(|k| change.delete.contains_key(k) || !before.contains_key(k)));
            change.apply_to(&mut kernel);
            prop_assert_eq!(&kernel, intent.elements());
            let union: Elements = wanted.values().flatten().map(|(k, d)| (*k, *d)).collect();
            prop_assert_eq!(&union, intent.elements());
        }
    }
}

fn port_of(frontend: Frontend) -> u16 {
    match frontend {
        Frontend::Service(_, _, port) | Frontend::NodePort(_, port) => port,
    }
}

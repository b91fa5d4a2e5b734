use proptest::prelude::*;

use super::*;

fn backend(last: u8) -> Backend {
    (Ipv4Addr::new(10, 244, 0, last), 80)
}

fn set(of: &[u8]) -> BTreeSet<Backend> {
    of.iter().map(|last| backend(*last)).collect()
}

/// Flags: r ready, d draining, l local, s silent.
fn check(policy: Policy, endpoints: &[(u8, &str)], expected: &[u8]) {
    let candidates: Vec<Candidate> = endpoints
        .iter()
        .map(|(last, flags)| Candidate {
            backend: backend(*last),
            ready: flags.contains('r'),
            draining: flags.contains('d'),
            local: flags.contains('l'),
            silent: flags.contains('s'),
        })
        .collect();
    assert_eq!(choose(&candidates, policy), set(expected), "{policy:?} {endpoints:?}");
}

#[test]
fn only_ready_endpoints_serve_and_draining_ones_while_there_is_none() {
    check(Policy::Cluster, &[], &[]);
    check(Policy::Cluster, &[(1, "r"), (2, ""), (3, "d"), (4, "rl")], &[1, 4]);
    check(Policy::Cluster, &[(1, ""), (2, "d")], &[2]);
    check(Policy::Local, &[(1, "r"), (2, "rl")], &[2]);
    check(Policy::Local, &[(1, "r"), (2, "dl")], &[2]);
    check(Policy::Local, &[(1, "r"), (2, "l")], &[]);
    check(Policy::PreferLocal, &[(1, "r"), (2, "rl"), (3, "r")], &[2]);
    check(Policy::PreferLocal, &[(1, "r"), (2, "l"), (3, "r")], &[1, 3]);
    check(Policy::PreferLocal, &[(1, "r"), (2, "rls"), (3, "r")], &[1, 3]);
    check(Policy::PreferLocal, &[(2, "rls")], &[2]);
}

proptest! {
    #[test]
    fn slots_hold_each_endpoint_once_and_move_as_few_as_possible(
        before in proptest::collection::btree_set(0u8..20, 0..20),
        after in proptest::collection::btree_set(0u8..20, 0..20),
    ) {
        let to_set = |s: &BTreeSet<u8>| s.iter().map(|b| backend(*b)).collect::<BTreeSet<_>>();
        let first = slots(&[], &to_set(&before));
        let second = slots(&first, &to_set(&after));
        prop_assert_eq!(second.len(), after.len());
        prop_assert_eq!(second.iter().copied().collect::<BTreeSet<_>>(), to_set(&after));
        // An endpoint that stays moves only if its slot is no longer there.
        for (slot, kept) in first.iter().enumerate().filter(|(_, b)| to_set(&after).contains(b)) {
            if slot < second.len() {
                prop_assert_eq!(&second[slot], kept);
            }
        }
    }

    #[test]
    fn a_ring_moves_only_the_share_of_the_endpoint_that_goes(
        present in proptest::collection::btree_set(0u8..30, 2..12),
    ) {
        let all: BTreeSet<Backend> = present.iter().map(|b| backend(*b)).collect();
        let gone = *all.first().expect("two at least");
        let rest: BTreeSet<Backend> = all.iter().copied().filter(|b| *b != gone).collect();
        let (before, after) = (ring(&all, 64), ring(&rest, 64));
        prop_assert_eq!(before.len(), 64);
        for (old, new) in before.iter().zip(&after) {
            prop_assert!(*old == gone || old == new);
        }
    }
}

#[test]
fn a_ring_gives_every_endpoint_a_share() {
    let ring = ring(&set(&[1, 2, 3, 4]), 64);
    for last in 1..=4 {
        let share = ring.iter().filter(|b| **b == backend(last)).count();
        assert!((6..=28).contains(&share), "endpoint {last} has {share} of 64 slots");
    }
}

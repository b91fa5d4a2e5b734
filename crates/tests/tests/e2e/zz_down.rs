//! Runs last: `down` removes exactly what `up` made.

use gantry_tests::{cluster::cluster, machine::traces};

#[test]
fn e2e_zz_down_leaves_the_machine_as_it_was() {
    let Some(c) = cluster() else { return };
    let during = traces();
    let made: Vec<_> = during.difference(&c.before).collect();
    assert!(made.iter().any(|t| t.contains("gt-e2e")), "the cluster leaves traces while it runs: {made:?}");
    c.down();
    let after = traces();
    let left: Vec<_> = after.difference(&c.before).filter(|t| is_ours(t)).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    let lost: Vec<_> = c.before.difference(&after).filter(|t| !t.contains("gt-")).collect();
    assert!(lost.is_empty(), "removed, but not made by `up`: {lost:?}");
    assert!(!c.state().exists(), "{} is still there", c.state().display());
}

/// What could be this cluster's; other programs of the machine come and go meanwhile.
fn is_ours(trace: &str) -> bool {
    ["e2e", "gtv", "10.201.0", "docker", "forwarding"].iter().any(|mark| trace.contains(mark))
}

//! Runs last: `down` removes exactly what `up` made.

use gantry_tests::{
    cluster::cluster,
    machine::{sh, traces},
};

#[test]
fn e2e_zz_down_leaves_the_machine_as_it_was() {
    let Some(c) = cluster() else { return };
    let during = traces();
    let made: Vec<_> = during.difference(&c.before).collect();
    assert!(made.iter().any(|t| t.contains("gt-e2e")), "the cluster leaves traces while it runs: {made:?}");
    let links = sh("ip", &["-brief", "link", "show", "master", "gt-e2e"]).expect_ok("ip link");
    let links: Vec<String> = links.lines().filter_map(|l| l.split('@').next()).map(str::to_owned).collect();
    assert_eq!(links.len(), 2, "one link for each node: {links:?}");
    let alone =
        std::fs::read_dir("/run/gantry").is_ok_and(|all| all.flatten().filter(|e| e.path().is_dir()).count() == 1);
    c.down();
    // Other programs of the machine, other clusters too, come and go meanwhile.
    let is_ours = |trace: &str| {
        let marks = ["e2e", "10.201.0."].map(str::to_owned).into_iter().chain(links.clone());
        let mut marks = marks.chain(alone.then(|| "forwarding: 1".to_owned()));
        marks.any(|mark| trace.contains(&mark))
    };
    let after = traces();
    let left: Vec<_> = after.difference(&c.before).filter(|t| is_ours(t)).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    let stays =
        |trace: &str| ["iptables: ", "nft table: ", "route: ", "link: "].iter().any(|kind| trace.starts_with(kind));
    let lost: Vec<_> = c.before.difference(&after).filter(|t| stays(t) && !t.contains("gt")).collect();
    assert!(lost.is_empty(), "removed, but not made by `up`: {lost:?}");
    assert!(!c.state().exists(), "{} is still there", c.state().display());
}

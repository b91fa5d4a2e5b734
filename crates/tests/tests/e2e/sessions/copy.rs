//! Files in and out of containers.

use gantry_tests::cluster::{Cluster, cluster};

use super::{NS, fixture};

/// A tree with a link, an empty folder, an empty file, and names that shells trip over.
fn tree(c: &Cluster) -> String {
    let root = c.data_dir().join("tree");
    let make = format!(
        "rm -rf '{r}' && mkdir -p '{r}/sub/deep' '{r}/empty' && cd '{r}' && echo one > one && : > nothing && \
         echo two > 'sub/a name with spaces' && echo three > 'sub/deep/quote\"and$dollar' && echo four > 'sub/-dash' && \
         echo five > 'sub/ünïcode' && head -c 3000000 /dev/urandom > sub/deep/large && chmod 755 one && ln -s one link",
        r = root.display()
    );
    c.shell(&make).expect_ok("a tree").clear();
    root.display().to_string()
}

fn digest(c: &Cluster, folder: &str) -> String {
    let line = format!("cd '{folder}' && find . -type f -exec sha256sum {{}} + | sort -k2 && find . -type d | sort");
    c.shell(&line).expect_ok("digests")
}

#[test]
fn e2e_session_cp_carries_a_tree_both_ways() {
    let Some(c) = cluster() else { return };
    fixture(&c);
    let from = tree(&c);
    let expected = digest(&c, &from);
    for (n, tool) in c.kubectls().into_iter().chain(["gantryctl".to_owned()]).enumerate() {
        let back = c.data_dir().join(format!("back-{n}")).display().to_string();
        c.shell(&format!("rm -rf '{back}'")).expect_ok("clean").clear();
        c.ok(&format!("{tool} cp {from} {NS}/shell-1:/tmp/tree-{n}"));
        let inside = ["exec", "-n", NS, "shell-1", "--", "sh", "-c"];
        let script = format!(
            "cd /tmp/tree-{n} && readlink link && cat 'sub/a name with spaces' && test -x one && test -d empty"
        );
        let seen = gantry_tests::machine::run(&mut c.command("kubectl", &[&inside[..], &[&script]].concat()), "");
        assert_eq!(seen.expect_ok(&tool), "one\ntwo\n", "{tool}");
        c.ok(&format!("{tool} cp {NS}/shell-1:/tmp/tree-{n} {back}"));
        assert_eq!(digest(&c, &back), expected, "{tool}");
        c.shell(&format!("rm -rf '{back}'")).expect_ok("clean").clear();
    }
    let link = c.data_dir().join("linked").display().to_string();
    c.shell(&format!("rm -rf '{link}'")).expect_ok("clean").clear();
    c.ok(&format!("gantryctl cp {NS}/shell-1:/tmp/tree-0 {link}"));
    let target = std::fs::read_link(format!("{link}/link")).expect("gantryctl keeps links that stay inside");
    assert_eq!(target.to_str(), Some("one"));
    c.shell(&format!("rm -rf '{link}' '{from}'")).expect_ok("clean").clear();
}

#[test]
fn e2e_session_cp_one_file_and_what_is_missing() {
    let Some(c) = cluster() else { return };
    fixture(&c);
    let file = c.data_dir().join("single").display().to_string();
    std::fs::write(&file, "single\n").expect("it is written");
    for tool in c.kubectls().into_iter().chain(["gantryctl".to_owned()]) {
        c.ok(&format!("{tool} cp {file} {NS}/shell-2:/tmp/single"));
        let back = format!("{file}-back");
        c.ok(&format!("{tool} cp {NS}/shell-2:/tmp/single {back}"));
        assert_eq!(std::fs::read_to_string(&back).expect("it came back"), "single\n", "{tool}");
        std::fs::remove_file(&back).expect("it is there");
    }
    let missing = c.line(&format!("gantryctl cp {NS}/shell-2:/tmp/not-there {file}-never"));
    assert!(!missing.ok && missing.stderr.contains("not-there"), "{}", missing.stderr);
    std::fs::remove_file(&file).expect("it is there");
}

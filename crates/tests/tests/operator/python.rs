//! The Python client against the same kind and webhooks.

use std::path::Path;

use gantry_tests::cluster::note_skip;
use tokio::process::Command;

use crate::world::{LIMIT, World, kubeconfig};

#[tokio::test]
async fn the_python_client_works_typed_dynamic_and_watching() {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("tmp is in the target folder");
    let python = target.join("tools/python/bin/python");
    if !python.exists() {
        note_skip("no Python client below target/tools: cargo xtask test makes it");
        return;
    }
    let world = World::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("kubeconfig");
    let admin = kubeconfig(&world.cluster, "admin", &["system:masters"]);
    std::fs::write(&file, admin.to_string()).expect("it is written");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/operator/python.py");
    let run = Command::new(python).arg(script).arg(&file).kill_on_drop(true).output();
    let output = tokio::time::timeout(LIMIT, run).await.expect("it ends in time").expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "typed\ncustom\ndynamic\nwatch\n");
}

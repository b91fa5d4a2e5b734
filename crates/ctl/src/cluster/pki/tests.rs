use super::*;
use crate::cluster::config::{Choices, Manager};

fn config(nodes: u16) -> Config {
    Config::plan(&Choices {
        name: "x".to_owned(),
        data_dir: PathBuf::from("/var/lib/gantry"),
        nodes,
        control_planes: 1,
        secure_port: 6443,
        bridge: None,
        subnet: "10.200.0.0/24".parse().expect("a network"),
        manager: Manager::Builtin,
        bin_dir: PathBuf::from("/usr/bin"),
        extra_args: Vec::new(),
    })
    .expect("it can be planned")
}

fn now() -> Timestamp {
    "2026-11-21T10:00:00Z".parse().expect("a time")
}

#[test]
fn the_second_call_makes_nothing_and_expiry_renews() {
    let folder = tempfile::tempdir().expect("a folder");
    let pki = Pki::new(folder.path().to_owned());
    let all = requests(&config(1));
    let made = pki.ensure(&all, now()).expect("keys are made");
    assert_eq!(made.len(), all.len() + 5);
    assert_eq!(pki.ensure(&all, now()).expect("keys are there"), Vec::<String>::new());
    let later = now().checked_add((24 * 60).hours()).expect("a time");
    let renewed = pki.ensure(&all, later).expect("keys are renewed");
    assert_eq!(renewed.len(), all.len(), "every certificate, no CA and no signing key: {renewed:?}");
}

#[test]
fn a_new_node_gets_a_certificate_and_the_others_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    let pki = Pki::new(folder.path().to_owned());
    pki.ensure(&requests(&config(1)), now()).expect("keys are made");
    assert_eq!(pki.ensure(&requests(&config(2)), now()).expect("a key is made"), ["kubelet-node-2"]);
}

#[test]
fn a_damaged_certificate_is_made_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let pki = Pki::new(folder.path().to_owned());
    let all = requests(&config(1));
    pki.ensure(&all, now()).expect("keys are made");
    fs::write(pki.cert("scheduler"), "rubbish").expect("it is written");
    assert_eq!(pki.ensure(&all, now()).expect("a key is made"), ["scheduler"]);
}

#[test]
fn users_and_groups_are_upstreams() {
    let all = requests(&config(1));
    let check = |file: &str, name: &str, group: Option<&str>| {
        let r = all.iter().find(|r| r.file == file).expect("it is asked for");
        assert_eq!((r.common_name.as_str(), r.organizations.first().map(String::as_str)), (name, group));
    };
    check("admin", "kubernetes-admin", Some("system:masters"));
    check("kubelet-node-1", "system:node:node-1", Some("system:nodes"));
    check("scheduler", "system:kube-scheduler", None);
    check("controller-manager", "system:kube-controller-manager", None);
}

#[test]
fn only_the_api_server_can_reach_etcd() {
    let with_etcd: Vec<_> = requests(&config(3)).into_iter().filter(|r| r.ca == ETCD_CA).map(|r| r.file).collect();
    assert_eq!(with_etcd, ["etcd-server", "etcd-peer", "apiserver-etcd-client"]);
}

#[test]
fn another_api_server_needs_a_new_certificate_for_all_of_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let pki = Pki::new(folder.path().to_owned());
    let mut config = config(1);
    pki.ensure(&requests(&config), now()).expect("keys are made");
    config.grow_control_planes(2).expect("it grows");
    assert_eq!(pki.ensure(&requests(&config), now()).expect("a key is made"), ["apiserver"]);
}

#[test]
fn the_key_of_etcds_content_is_made_once_and_for_root_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let pki = Pki::new(folder.path().to_owned());
    pki.ensure(&requests(&config(1)), now()).expect("keys are made");
    let text = fs::read_to_string(pki.encryption()).expect("it is there");
    let mode = fs::metadata(pki.encryption()).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let parsed: serde_json::Value = serde_saphyr::from_str(&text).expect("YAML");
    let rule = &parsed["resources"][0];
    assert_eq!((&rule["resources"][0], &rule["providers"][1]["identity"]), (&"secrets".into(), &serde_json::json!({})));
    let secret = rule["providers"][0]["aesgcm"]["keys"][0]["secret"].as_str().expect("a key");
    assert_eq!(STANDARD.decode(secret).map(|key| key.len()), Ok(32));
    let later = now().checked_add((24 * 400).hours()).expect("a time");
    pki.ensure(&requests(&config(2)), later).expect("keys are renewed");
    assert_eq!(fs::read_to_string(pki.encryption()).expect("it is there"), text);
}

#[test]
fn the_front_proxys_ca_signs_nothing_else() {
    let signed: Vec<_> = requests(&config(3)).into_iter().filter(|r| r.ca == FRONT_PROXY_CA).map(|r| r.file).collect();
    assert_eq!(signed, [FRONT_PROXY_CLIENT]);
}

use super::*;
use crate::cluster::{
    config::{Choices, Manager},
    services::{self, Programs},
};

fn config(name: &str) -> Config {
    Config::plan(&Choices {
        name: name.to_owned(),
        data_dir: PathBuf::from(DEFAULT_DATA_DIR),
        nodes: 1,
        control_planes: 3,
        secure_port: 6443,
        bridge: None,
        subnet: "10.200.0.0/24".parse().expect("a network"),
        manager: Manager::Systemd,
        bin_dir: PathBuf::from("/opt"),
        extra_args: Vec::new(),
    })
    .expect("it can be planned")
}

fn specs(config: &Config) -> Vec<Spec> {
    let at = |p: &str| PathBuf::from("/usr/bin").join(p);
    let programs = Programs {
        etcd: at("etcd"),
        registry: at("docker-registry"),
        dockerd: at("dockerd"),
        containerd: at("containerd"),
    };
    services::all(config, &programs, &[])
}

#[test]
fn every_service_has_a_unit() {
    for name in ["default", "other"] {
        let config = config(name);
        for spec in specs(&config) {
            let (component, _) = component_and_instance(&config, &spec.name);
            let file = format!("gantry-{component}@.service");
            assert!(unit_files().iter().any(|(unit, _)| *unit == file), "{file}");
        }
    }
    assert_eq!(unit_of(&config("default"), "kubelet-node-1"), "gantry-kubelet@node-1.service");
    assert_eq!(unit_of(&config("other"), "kubelet-node-1"), "gantry-kubelet@other-node-1.service");
    assert_eq!(unit_of(&config("other"), "etcd"), "gantry-etcd@other.service");
    assert_eq!(unit_of(&config("other"), "apiserver-2"), "gantry-apiserver-2@other.service");
    assert_ne!(unit_of(&config("other"), "apiserver-2"), unit_of(&config("other-2"), "apiserver"));
}

#[test]
fn a_key_in_the_arguments_is_a_credential_of_the_unit() {
    let config = config("other");
    for spec in specs(&config) {
        let (component, instance) = component_and_instance(&config, &spec.name);
        let name = format!("gantry-{component}@.service");
        let (_, unit) = unit_files().into_iter().find(|(u, _)| *u == name).expect("a unit");
        let arguments = args_file(&config, &spec.name).file_name().expect("a file").to_string_lossy().into_owned();
        assert!(unit.contains(&format!("/{arguments}\n")), "{}: {arguments} is not read", spec.name);
        let prefix = format!("/run/credentials/gantry-{component}@{instance}.service/");
        for arg in args_text(&config, &spec).split_whitespace() {
            let Some((_, name)) = arg.split_once(&prefix) else { continue };
            assert!(unit.contains(&format!("LoadCredential={name}:")), "{}: {name} is not loaded", spec.name);
        }
    }
}

#[test]
fn api_servers_are_of_the_group_of_etcds_socket() {
    let config = config("other");
    let lines = |name: &str| {
        let (_, unit) = unit_files().into_iter().find(|(unit, _)| unit == name).expect("a unit");
        unit.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let etcd = lines("gantry-etcd@.service");
    for line in ["RuntimeDirectory=gantry-etcd/%i", "WorkingDirectory=/run/gantry-etcd/%i", "UMask=0007"] {
        assert!(etcd.iter().any(|l| l == line), "{line}");
    }
    let group = etcd.iter().find(|line| line.starts_with("Group=")).expect("a group");
    for spec in specs(&config) {
        let args = args_text(&config, &spec);
        if spec.name.starts_with("apiserver") {
            assert!(args.contains("--etcd-servers=unix:///run/gantry-etcd/other/etcd.sock:0 "), "{args}");
            assert!(lines(&format!("gantry-{}@.service", spec.name)).contains(group), "{}", spec.name);
        } else if spec.name == "etcd" {
            assert!(args.contains(",unix://etcd.sock:0 "), "{args}");
        }
    }
}

#[test]
fn what_systemctl_shows_is_read() {
    let config = config("x");
    let spec = &specs(&config)[0];
    let check = |shown: &str, state: State, pid: Option<i32>| {
        let status = read_status(spec, shown, Path::new("/no/such/file"));
        assert_eq!((status.state, status.pid), (state, pid), "{shown}");
    };
    check("ActiveState=active\nSubState=running\nMainPID=42\nResult=success\nNRestarts=0", State::Ready, Some(42));
    check("ActiveState=activating\nSubState=auto-restart\nMainPID=0\nResult=exit-code", State::Waiting, None);
    check("ActiveState=inactive\nSubState=dead\nMainPID=0\nResult=success", State::Stopped, None);
}

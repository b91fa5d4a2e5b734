//! What the machine is: read once at the start.

use std::{collections::BTreeMap, path::Path};

use gantry_api::quantity::{Format, Quantity};
use k8s_openapi::api::core::v1::NodeSystemInfo;

use crate::{Config, runtime::Info};

/// The machine's facts.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    /// Thousandths of CPUs, bytes of memory and disk, number of pods.
    pub(crate) capacity: BTreeMap<String, Quantity>,
    /// The same without what is kept back.
    pub(crate) allocatable: BTreeMap<String, Quantity>,
    info: NodeSystemInfo,
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn memory_bytes() -> i64 {
    let text = read("/proc/meminfo");
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    line.and_then(|l| l.trim().trim_end_matches("kB").trim().parse::<i64>().ok())
        .map_or(0, |kilobytes| kilobytes * 1024)
}

fn disk_bytes(root: &Path) -> i64 {
    nix::sys::statvfs::statvfs(root)
        .map(|s| i64::try_from(s.blocks() * s.fragment_size()).unwrap_or(i64::MAX))
        .unwrap_or(0)
}

fn os_image() -> String {
    let text = read("/etc/os-release");
    let line = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    line.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}

impl Machine {
    /// Reads the machine's facts; flags that claim another share of it count first.
    pub(crate) fn read(config: &Config) -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut capacity = BTreeMap::from([
            ("cpu".to_owned(), Quantity::from_value(i64::try_from(cpus).unwrap_or(1), Format::DecimalSi)),
            ("memory".to_owned(), Quantity::from_value(memory_bytes(), Format::BinarySi)),
            ("ephemeral-storage".to_owned(), Quantity::from_value(disk_bytes(&config.root_dir), Format::BinarySi)),
            ("pods".to_owned(), Quantity::from_value(i64::from(config.max_pods), Format::DecimalSi)),
        ]);
        for (name, value) in Config::amounts(&config.capacity) {
            capacity.insert(name.to_owned(), *value);
        }
        let reserved = Config::amounts(&config.system_reserved);
        let allocatable =
            capacity.iter().map(|(name, total)| (name.clone(), left(total, reserved.get(name.as_str()).copied())));
        let allocatable = allocatable.collect();
        let uname = nix::sys::utsname::uname().ok();
        let kernel = uname.map(|u| u.release().to_string_lossy().into_owned()).unwrap_or_default();
        let info = NodeSystemInfo {
            architecture: "amd64".to_owned(),
            boot_id: read("/proc/sys/kernel/random/boot_id"),
            container_runtime_version: String::new(),
            kernel_version: kernel,
            kube_proxy_version: String::new(),
            kubelet_version: gantry_common::version::GIT_VERSION.to_owned(),
            machine_id: read("/etc/machine-id"),
            operating_system: "linux".to_owned(),
            os_image: os_image(),
            swap: None,
            system_uuid: read("/sys/class/dmi/id/product_uuid"),
        };
        Self { capacity, allocatable, info }
    }

    /// `nodeInfo` with the runtime that answers at present.
    pub(crate) fn info(&self, runtime: Option<&Info>) -> NodeSystemInfo {
        let version = runtime.map(|r| r.version.clone()).unwrap_or_default();
        NodeSystemInfo { container_runtime_version: version, ..self.info.clone() }
    }

    /// Thousandths of a CPU.
    pub(crate) fn cpu_milli(&self) -> i64 {
        self.capacity.get("cpu").map_or(1000, Quantity::milli)
    }

    /// Bytes.
    pub(crate) fn memory_bytes(&self) -> i64 {
        self.capacity.get("memory").map_or(0, Quantity::value)
    }
}

/// What is left of an amount; never less than nothing.
fn left(total: &Quantity, reserved: Option<&Quantity>) -> Quantity {
    match reserved {
        Some(reserved) if reserved.milli() >= total.milli() => Quantity::from_value(0, total.format()),
        Some(reserved) if total.milli() % 1000 == 0 && reserved.milli() % 1000 == 0 => {
            Quantity::from_value(total.value() - reserved.value(), total.format())
        }
        Some(reserved) => Quantity::from_milli(total.milli() - reserved.milli()),
        None => *total,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn shares_of_the_machine() {
        let config = Config::parse_from([
            "k",
            "--root-dir=/",
            "--capacity=cpu=2,memory=4Gi",
            "--system-reserved=cpu=250m,memory=1Gi,ephemeral-storage=1Ei",
        ]);
        let machine = Machine::read(&config);
        let check = |map: &BTreeMap<String, Quantity>, name: &str, expected: &str| {
            assert_eq!(map[name].to_string(), expected, "{name}");
        };
        check(&machine.capacity, "cpu", "2");
        check(&machine.capacity, "memory", "4Gi");
        check(&machine.capacity, "pods", "110");
        check(&machine.allocatable, "cpu", "1750m");
        check(&machine.allocatable, "memory", "3Gi");
        check(&machine.allocatable, "ephemeral-storage", "0");
        assert!(memory_bytes() > 0 && machine.cpu_milli() == 2000);
    }
}

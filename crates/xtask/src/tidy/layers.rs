//! Which crate may depend on which: dependencies point down only (docs/architecture.md).

use serde::Deserialize;

use super::verdict;
use crate::sh;

/// Crates by layer, the lowest first.
const LAYERS: &[&[&str]] = &[
    &["gantry-api", "gantry-cel", "gantry-proto", "gantry-common"],
    &["gantry-store", "gantry-client", "gantry-spdy"],
    &["gantry-controller"],
    &[
        "gantry-apiserver",
        "gantry-scheduler",
        "gantry-controller-manager",
        "gantry-kubelet",
        "gantry-proxy",
        "gantry-dns",
        "gantry-ctl",
    ],
    &["gantry-testkit", "gantry-tests", "gantry-bench", "xtask"],
];

/// Only these link the store, besides tests and benchmarks.
const MAY_STORE: &[&str] = &["gantry-apiserver"];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `dev`, `build`, or nothing for what is linked.
    kind: Option<String>,
    path: Option<String>,
}

pub(crate) fn check() -> anyhow::Result<()> {
    let text = sh::output(&mut sh::cargo(&["metadata", "--format-version=1", "--no-deps", "--offline"]))?;
    let metadata: Metadata = serde_json::from_str(&text)?;
    verdict(faults(&metadata))
}

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|crates| crates.contains(&name))
}

fn faults(metadata: &Metadata) -> Vec<String> {
    let mut found = Vec::new();
    for package in &metadata.packages {
        let Some(own) = layer(&package.name) else {
            found.push(format!("the crate {} is in no layer; add it to crates/xtask/src/tidy/layers.rs", package.name));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|d| d.path.is_some() && d.kind.as_deref() != Some("dev")) {
            let name = dependency.name.as_str();
            let below = layer(name).is_some_and(|theirs| theirs < own || theirs == 0 || own == LAYERS.len() - 1);
            if !below {
                found.push(format!("{} must not depend on {name}: dependencies point down only", package.name));
            }
            if name == "gantry-store" && own < LAYERS.len() - 1 && !MAY_STORE.contains(&package.name.as_str()) {
                found.push(format!("{} must not link {name}: only the API server reaches the store", package.name));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_point_down() {
        let check = |from: &str, to: &str, kind: Option<&str>, expected: usize| {
            let dependency = Dependency { name: to.into(), kind: kind.map(str::to_owned), path: Some("x".into()) };
            let package = Package { name: from.into(), dependencies: vec![dependency] };
            assert_eq!(faults(&Metadata { packages: vec![package] }).len(), expected, "{from} -> {to}");
        };
        check("gantry-apiserver", "gantry-store", None, 0);
        check("gantry-client", "gantry-proto", None, 0);
        check("gantry-tests", "gantry-testkit", None, 0);
        check("gantry-kubelet", "gantry-proxy", None, 1);
        check("gantry-client", "gantry-store", None, 2);
        check("gantry-kubelet", "gantry-store", None, 1);
        check("gantry-kubelet", "gantry-store", Some("dev"), 0);
        check("gantry-unknown", "gantry-api", None, 1);
    }
}

//! Volumes: sources that are gone or going, and files that would be written over each other.

use std::collections::BTreeSet;

use gantry_api::{Value, value};

use super::{WARNINGS_MAX, fraction};

/// The longest name of an object.
const NAME_BYTES_MAX: usize = 253;
/// Paths of the sources of one volume that are looked at, each again with every source behind its own.
const PATHS_MAX: usize = 1_000_000;

/// Sources that are deprecated, as their warnings name them.
const OLD_SOURCES: [(&str, &str, &str); 9] = [
    ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

/// The warnings about volumes.
pub(super) fn all(out: &mut Vec<String>, at: &str, spec: &Value) {
    let volumes = value::list_at(spec, "volumes");
    for (index, volume) in volumes.iter().enumerate() {
        let at = || format!("{at}.volumes[{index}]");
        let given = |source: &str| volume.get(source).is_some_and(|source| !source.is_null());
        // A volume has a name and a source.
        let has_old =
            volume.as_object().is_some_and(|v| v.keys().any(|key| OLD_SOURCES.iter().any(|old| old.0 == key)));
        for (_, shown, why) in OLD_SOURCES.iter().filter(|old| has_old && given(old.0)) {
            out.push(format!("{}.{shown}: {why}", at()));
        }
        let requests = "ephemeral.volumeClaimTemplate.spec.resources.requests";
        let storage = value::map_at(volume, requests).and_then(|r| r.get("storage"));
        out.extend(fraction(|| format!("{}.{requests}[storage]", at()), storage));
    }
    for volume in volumes {
        let name = value::str_at(volume, "name").unwrap_or_default();
        for (source, title) in [("configMap", "ConfigMap"), ("secret", "Secret"), ("downwardAPI", "DownwardAPI")] {
            if let Some(source) = volume.get(source) {
                overlaps(out, &paths(source), &|| {
                    format!("volume {name:?} ({}): overlapping paths", titled(title, source))
                });
            }
        }
        projected(out, name, value::list_at(volume, "projected.sources"));
    }
}

/// The source with the name of what it shows.
fn titled(title: &str, source: &Value) -> String {
    let names = ["secretName", "name", "signerName"];
    let named = names.iter().find_map(|key| value::str_at(source, key)).unwrap_or_default();
    // Each warning repeats it, and nothing has a longer name.
    let named = &named[..named.floor_char_boundary(NAME_BYTES_MAX)];
    match title {
        "DownwardAPI" | "ServiceAccountToken" => title.to_owned(),
        _ => format!("{title} {named:?}"),
    }
}

fn paths(source: &Value) -> Vec<&str> {
    value::list_at(source, "items").iter().map(|item| value::str_at(item, "path").unwrap_or_default()).collect()
}

/// Each source is looked at by itself, and then with those before it.
fn projected(out: &mut Vec<String>, name: &str, sources: &[Value]) {
    const KINDS: [(&str, &str); 5] = [
        ("configMap", "ConfigMap"),
        ("secret", "Secret"),
        ("downwardAPI", "DownwardAPI"),
        ("serviceAccountToken", "ServiceAccountToken"),
        ("clusterTrustBundle", "ClusterTrustBundle"),
    ];
    let (mut before, mut looked_at) = (BTreeSet::new(), 0);
    for source in sources {
        if source.as_object().is_none_or(serde_json::Map::is_empty) {
            out.push(format!("volume {name:?} (Projected) has no sources provided"));
            continue;
        }
        let Some((found, title)) = KINDS.iter().find_map(|(key, title)| Some((source.get(key)?, *title))) else {
            continue;
        };
        let paths = match title {
            "ServiceAccountToken" | "ClusterTrustBundle" => value::str_at(found, "path").into_iter().collect(),
            _ => paths(found),
        };
        let head = || format!("volume {name:?} (Projected {}): overlapping paths", titled(title, found));
        overlaps(out, &paths, &head);
        let unique: BTreeSet<&str> = paths.into_iter().collect();
        looked_at += unique.len() + before.len();
        if out.len() > WARNINGS_MAX || looked_at > PATHS_MAX {
            return;
        }
        let mut sorted: Vec<&str> = unique.iter().chain(&before).copied().collect();
        sorted.sort_unstable();
        if !unique.is_empty() {
            overlaps(out, &sorted, &head);
        }
        before.extend(unique);
    }
}

/// Paths of which one is, or begins, another: each is told with the first such path before it.
fn overlaps(out: &mut Vec<String>, paths: &[&str], head: &dyn Fn() -> String) {
    let mut seen = BTreeSet::new();
    // Those that no other one begins. At most one of them begins a path, and if so it is the first in order that does.
    let mut shortest: BTreeSet<&str> = BTreeSet::new();
    for path in paths {
        if out.len() > WARNINGS_MAX {
            return;
        }
        let path = path.trim_end_matches('/');
        let beginning = shortest.range(..=path).next_back().filter(|other| path.starts_with(**other)).copied();
        let longer = seen.range(path..).next().filter(|other: &&&str| other.starts_with(path)).copied();
        if !path.is_empty()
            && !seen.contains("")
            && let Some(other) = beginning.or(longer)
        {
            out.push(format!("{}: {path:?} with {other:?}", head()));
        }
        if beginning.is_none() {
            while let Some(longer) = shortest.range(path..).next().copied().filter(|other| other.starts_with(path)) {
                shortest.remove(longer);
            }
            shortest.insert(path);
        }
        seen.insert(path);
    }
}

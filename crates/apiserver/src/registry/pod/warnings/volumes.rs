//! Volumes: sources that are gone or going, and files that would be written over each other.

use std::collections::BTreeSet;

use gantry_api::{Value, value};

use super::fraction;

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
        let at = format!("{at}.volumes[{index}]");
        for (source, shown, why) in OLD_SOURCES {
            if volume.get(source).is_some_and(|source| !source.is_null()) {
                out.push(format!("{at}.{shown}: {why}"));
            }
        }
        let claim = "ephemeral.volumeClaimTemplate.spec";
        let storage = value::map_at(volume, &format!("{claim}.resources.requests")).and_then(|r| r.get("storage"));
        out.extend(fraction(&format!("{at}.{claim}.resources.requests[storage]"), storage));
    }
    for volume in volumes {
        let name = value::str_at(volume, "name").unwrap_or_default();
        for (source, title) in [("configMap", "ConfigMap"), ("secret", "Secret"), ("downwardAPI", "DownwardAPI")] {
            if let Some(source) = volume.get(source) {
                let head = format!("volume {name:?} ({}): overlapping paths", titled(title, source));
                overlaps(out, paths(source), &head);
            }
        }
        projected(out, name, value::list_at(volume, "projected.sources"));
    }
}

/// The source with the name of what it shows.
fn titled(title: &str, source: &Value) -> String {
    let names = ["secretName", "name", "signerName"];
    let named = names.iter().find_map(|key| value::str_at(source, key)).unwrap_or_default();
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
    let mut before = BTreeSet::new();
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
        let head = format!("volume {name:?} (Projected {}): overlapping paths", titled(title, found));
        overlaps(out, paths.clone(), &head);
        let unique: BTreeSet<&str> = paths.into_iter().collect();
        let mut sorted: Vec<&str> = unique.iter().chain(&before).copied().collect();
        sorted.sort_unstable();
        if !unique.is_empty() {
            overlaps(out, sorted, &head);
        }
        before.extend(unique);
    }
}

/// Paths of which one is, or begins, another.
fn overlaps(out: &mut Vec<String>, paths: Vec<&str>, head: &str) {
    let mut seen = BTreeSet::new();
    for path in paths {
        let path = path.trim_end_matches('/');
        let begins = |longer: &str, shorter: &str| format!("{longer}/").starts_with(shorter);
        let collides = |other: &&&str| **other == path || begins(other, path) || begins(path, other);
        if !path.is_empty()
            && !seen.contains("")
            && let Some(other) = seen.iter().find(collides)
        {
            out.push(format!("{head}: {path:?} with {other:?}"));
        }
        seen.insert(path);
    }
}

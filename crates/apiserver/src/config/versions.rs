//! `--runtime-config`: which of the group versions, or of their resources, are not served.

use gantry_api::kinds::{self, KindInfo, Unserved};
use gantry_api::priorities::METRICS;

use super::gates::truth;

/// Group versions that Kubernetes 1.36 knows besides those that are served here; it does not serve them by default.
const OTHERS: &[&str] = &[
    "admissionregistration.k8s.io/v1alpha1",
    "admissionregistration.k8s.io/v1beta1",
    "apiextensions.k8s.io/v1beta1",
    "apiregistration.k8s.io/v1beta1",
    "apps/v1beta1",
    "apps/v1beta2",
    "authentication.k8s.io/v1alpha1",
    "authentication.k8s.io/v1beta1",
    "authorization.k8s.io/v1beta1",
    "batch/v1beta1",
    "certificates.k8s.io/v1alpha1",
    "certificates.k8s.io/v1beta1",
    "coordination.k8s.io/v1alpha2",
    "coordination.k8s.io/v1beta1",
    "discovery.k8s.io/v1beta1",
    "events.k8s.io/v1beta1",
    "extensions/v1beta1",
    "flowcontrol.apiserver.k8s.io/v1beta1",
    "flowcontrol.apiserver.k8s.io/v1beta2",
    "flowcontrol.apiserver.k8s.io/v1beta3",
    "imagepolicy.k8s.io/v1alpha1",
    "internal.apiserver.k8s.io/v1alpha1",
    "networking.k8s.io/v1beta1",
    "node.k8s.io/v1alpha1",
    "node.k8s.io/v1beta1",
    "policy/v1beta1",
    "rbac.authorization.k8s.io/v1alpha1",
    "rbac.authorization.k8s.io/v1beta1",
    "resource.k8s.io/v1alpha3",
    "resource.k8s.io/v1beta1",
    "resource.k8s.io/v1beta2",
    "scheduling.k8s.io/v1alpha1",
    "scheduling.k8s.io/v1alpha2",
    "scheduling.k8s.io/v1beta1",
    "storage.k8s.io/v1alpha1",
    "storage.k8s.io/v1beta1",
    "storagemigration.k8s.io/v1alpha1",
    "storagemigration.k8s.io/v1beta1",
];

const ABSENT: &str = "Kubernetes 1.36 does not serve that by default, and this server does not have it";
/// Whether a word means a version.
type Means = fn(&str) -> bool;
/// Words for many versions at once, in the order in which they are heeded.
const MANY: [(&str, Means); 4] = [
    ("api/all", |_| true),
    ("api/ga", |version| !version.contains("alpha") && !version.contains("beta")),
    ("api/beta", |version| version.contains("beta")),
    ("api/alpha", |version| version.contains("alpha")),
];

/// Keys and values; a key without a value is on.
fn pairs(written: &[String]) -> Result<Vec<(String, bool)>, String> {
    let one = |written: &String| {
        let (key, value) = written.split_once('=').unwrap_or((written, ""));
        let (key, value) = (key.trim(), value.trim());
        let on = if value.is_empty() { Ok(true) } else { truth(value) };
        let on = on.map_err(|why| format!("invalid value of {key}: {value}, err: {why}"))?;
        Ok((key.to_owned(), on))
    };
    written.iter().filter(|written| !written.is_empty()).map(one).collect()
}

/// What is about one group version or resource: refused unless it is there or is not to be.
fn about_one(key: &str, on: bool) -> Result<impl Fn(&KindInfo) -> bool + use<>, String> {
    let parts: Vec<&str> = key.split('/').collect();
    let (group, version, resource) = match parts.as_slice() {
        [group, version] => (*group, *version, ""),
        [group, version, resource] => (*group, *version, *resource),
        _ => return Err(format!("runtime-config invalid key {key}")),
    };
    let name = format!("{group}/{version}");
    let in_group = |name: &str| name.split('/').next() == Some(group);
    if !kinds::all().iter().any(|k| k.group == group) && !OTHERS.iter().any(|other| in_group(other)) {
        return Err(format!("unknown api groups {group}"));
    }
    let here = kinds::all().iter().any(|k| k.group == group && k.version == version);
    if !here && !OTHERS.contains(&name.as_str()) {
        return Err(format!("group version {name} that has not been registered"));
    }
    if !here && on {
        return Err(format!("{key}: {ABSENT}"));
    }
    let (group, version, resource) = (group.to_owned(), version.to_owned(), resource.to_owned());
    Ok(move |kind: &KindInfo| {
        kind.group == group && kind.version == version && (resource.is_empty() || kind.resource == resource)
    })
}

/// The built-in kinds that are not to be served.
///
/// # Errors
/// What cannot be done, in upstream's words where it has them.
pub(super) fn switched_off(written: &[String]) -> Result<Unserved, String> {
    let pairs = pairs(written)?;
    if pairs.len() == 1 && pairs.iter().any(|(key, on)| key == "api/all" && !on) {
        return Err("invalid key with only api/all=false".to_owned());
    }
    let mut off: Vec<&'static KindInfo> = Vec::new();
    let mut set = |means: &dyn Fn(&KindInfo) -> bool, on: bool| {
        off.retain(|kind| !means(kind));
        if !on {
            off.extend(kinds::all().iter().filter(|kind| means(kind)));
        }
    };
    for (word, means) in MANY {
        let Some((_, on)) = pairs.iter().rfind(|(key, _)| key == word) else { continue };
        if *on && word != "api/ga" {
            return Err(format!("{word}=true: {ABSENT}, for some versions"));
        }
        // What nodes and pods use is told by another server elsewhere.
        set(&|kind| kind.group != METRICS && means(kind.version), *on);
    }
    for (key, on) in pairs.iter().filter(|(key, _)| MANY.iter().all(|(word, _)| word != key)) {
        set(&about_one(key, *on)?, *on);
    }
    Ok(Unserved::new(&off))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn off(written: &str) -> Result<Vec<String>, String> {
        let written: Vec<String> = written.split(',').map(str::to_owned).collect();
        let off = switched_off(&written)?;
        let gone = kinds::all().iter().filter(|kind| !off.serves(kind));
        Ok(gone.map(|kind| format!("{}/{}", kind.api_version, kind.resource)).collect())
    }

    #[test]
    fn versions_are_switched_off() {
        let check = |written: &str, expected: &[&str]| assert_eq!(off(written).expect(written), expected, "{written}");
        check("", &[]);
        check("batch/v1=false", &["batch/v1/cronjobs", "batch/v1/jobs"]);
        check("batch/v1/jobs=false, apps/v1", &["batch/v1/jobs"]);
        check("autoscaling/v1=0,autoscaling/v1=1", &[]);
        check("resource.k8s.io/v1beta1=false,api/beta=false,api/alpha=false,api/ga", &[]);
        let rest = kinds::all().iter().filter(|kind| kind.group != "batch" && kind.group != METRICS).count();
        assert_eq!(off("api/all=false,batch/v1=true").expect("good").len(), rest);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let check = |written: &str, expected: &str| {
            let found = off(written).expect_err(written);
            assert!(found.contains(expected), "{written}: {found}");
        };
        check("api/all=false", "invalid key with only api/all=false");
        check("api/all=true", "api/all=true: Kubernetes 1.36 does not serve that by default");
        check("api/beta", "this server does not have it");
        check("resource.k8s.io/v1beta2", "this server does not have it");
        check("apps/v9=false", "group version apps/v9 that has not been registered");
        check("nope.example.com/v1=true", "unknown api groups nope.example.com");
        check("v1", "runtime-config invalid key v1");
        check(
            "apps/v1=maybe",
            "invalid value of apps/v1: maybe, err: strconv.ParseBool: parsing \"maybe\": invalid syntax",
        );
    }
}

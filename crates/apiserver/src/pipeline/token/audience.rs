//! Whom a kubelet may have tokens made for: those whom the pod itself names (upstream's
//! `ServiceAccountNodeAudienceRestriction`, KEP-4412).

use gantry_api::status::Status;
use gantry_api::{Value, kinds, value};

use super::not_of_node;
use crate::app::App;
use crate::pipeline::current;
use crate::rbac::rule::Attributes;
use crate::request::{Caller, Target};

/// The verb on an audience that lets a node ask for it for pods that do not name it.
const VERB: &str = "request-serviceaccounts-token-audience";

/// Volume types of old whose work a CSI driver does.
const MIGRATED: &[(&str, &str)] = &[
    ("awsElasticBlockStore", "ebs.csi.aws.com"),
    ("azureDisk", "disk.csi.azure.com"),
    ("azureFile", "file.csi.azure.com"),
    ("cinder", "cinder.csi.openstack.org"),
    ("gcePersistentDisk", "pd.csi.storage.gke.io"),
    ("portworxVolume", "pxd.portworx.com"),
    ("vsphereVolume", "csi.vsphere.vmware.com"),
];

/// Checks what a kubelet asks for against the pod that the token is bound to.
///
/// # Errors
/// 403 in upstream's words.
pub(super) async fn check(
    app: &App,
    caller: &Caller,
    account: &Target,
    request: &Value,
    pod: &Value,
) -> Result<(), Status> {
    let wanted = match value::list_at(request, "spec.audiences") {
        [] => "",
        [one] => one.as_str().unwrap_or_default(),
        _ => return Err(not_of_node(account, "node may only request 0 or 1 audiences")),
    };
    for volume in value::list_at(pod, "spec.volumes") {
        if projects(volume, wanted) || driver_wants(app, pod, volume, wanted).await? {
            return Ok(());
        }
    }
    let attributes = Attributes {
        verb: VERB.to_owned(),
        version: "v1".to_owned(),
        resource: wanted.to_owned(),
        namespace: account.namespace.clone(),
        name: account.name.clone(),
        ..Attributes::default()
    };
    app.authorizer.decide(app, &caller.user, &attributes).await.map_err(|_| {
        let why = format!(
            "audience {wanted:?} not found in pod spec volume, {} is not authorized to request tokens for this audience",
            caller.user.name
        );
        not_of_node(account, &why)
    })
}

/// Whether the volume holds a token for the audience; none at all is that of the API.
fn projects(volume: &Value, audience: &str) -> bool {
    let sources = value::list_at(volume, "projected.sources").iter();
    sources
        .filter_map(|source| value::get(source, "serviceAccountToken").filter(|token| token.is_object()))
        .any(|token| value::str_at(token, "audience").unwrap_or_default() == audience)
}

/// Whether the driver of the volume is to be given tokens for the audience.
async fn driver_wants(app: &App, pod: &Value, volume: &Value, audience: &str) -> Result<bool, Status> {
    let Some(driver) = driver(app, pod, volume).await? else { return Ok(false) };
    let Some(driver) = load(app, ("storage.k8s.io", "csidrivers"), "", &driver).await? else { return Ok(false) };
    let wanted = value::list_at(&driver, "spec.tokenRequests").iter();
    Ok(wanted.map(|wanted| value::str_at(wanted, "audience").unwrap_or_default()).any(|found| found == audience))
}

/// The CSI driver behind a volume: named in the pod, or by the volume that a claim is bound to.
async fn driver(app: &App, pod: &Value, volume: &Value) -> Result<Option<String>, Status> {
    let namespace = value::str_at(pod, "metadata.namespace").unwrap_or_default();
    let claim = if let Some(name) = value::str_at(volume, "persistentVolumeClaim.claimName") {
        name.to_owned()
    } else if value::get(volume, "ephemeral").is_some_and(Value::is_object) {
        let text = |of, path| value::str_at(of, path).unwrap_or_default();
        format!("{}-{}", text(pod, "metadata.name"), text(volume, "name"))
    } else {
        return Ok(named(volume));
    };
    let Some(claim) = load(app, ("", "persistentvolumeclaims"), namespace, &claim).await? else { return Ok(None) };
    let bound = value::str_at(&claim, "spec.volumeName").unwrap_or_default();
    if bound.is_empty() {
        return Ok(None);
    }
    let found = load(app, ("", "persistentvolumes"), "", bound).await?;
    Ok(found.and_then(|found| named(value::get(&found, "spec")?)))
}

/// The driver that a volume source names, or that has taken over its type.
fn named(source: &Value) -> Option<String> {
    if let Some(driver) = value::str_at(source, "csi.driver") {
        return Some(driver.to_owned());
    }
    let taken_over = MIGRATED.iter().find(|(kind, _)| value::get(source, kind).is_some_and(Value::is_object));
    taken_over.map(|(_, driver)| (*driver).to_owned())
}

async fn load(
    app: &App,
    (group, resource): (&str, &str),
    namespace: &str,
    name: &str,
) -> Result<Option<Value>, Status> {
    let kind = kinds::by_resource(group, "v1", resource).ok_or_else(Status::no_such_resource)?;
    Ok(current::load(app, &Target::new(kind, namespace, name)).await?.map(|found| found.value))
}

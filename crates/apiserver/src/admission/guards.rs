//! Guards: addresses in use stay, devices of others are for marked namespaces, and nobody claims addresses from outside.

use std::collections::HashSet;

use async_trait::async_trait;
use gantry_api::field::{Error, Path};
use gantry_api::status::Status;
use gantry_api::{Value, kinds, value};

use super::{Operation, Plugin, Request};
use crate::pipeline::current;
use crate::request::Target;

/// An `IPAddress` is the lock on its address: while the Service that has it is there, it stays.
pub(super) struct AddressInUse;
/// `adminAccess` reaches devices that others use.
pub(super) struct DeviceAdminAccess;

/// A Service's external addresses take traffic that is meant for others.
pub(super) struct DenyServiceExternalIPs;

const ADMIN_LABEL: &str = "resource.kubernetes.io/admin-access";

#[async_trait]
impl Plugin for AddressInUse {
    fn name(&self) -> &'static str {
        "AddressInUse"
    }

    async fn validate(&self, request: &Request<'_>, object: &Value) -> Result<(), Status> {
        let kind = &request.target.kind;
        if request.operation != Operation::Delete || (kind.group, kind.kind) != ("networking.k8s.io", "IPAddress") {
            return Ok(());
        }
        let at = |path: &str| value::str_at(object, path).unwrap_or_default();
        if (at("spec.parentRef.group"), at("spec.parentRef.resource")) != ("", "services") {
            return Ok(());
        }
        let services = kinds::by_resource("", "v1", "services").ok_or_else(Status::no_such_resource)?;
        let owner = Target::new(services, at("spec.parentRef.namespace"), at("spec.parentRef.name"));
        let address = &request.target.name;
        let holds = |service: &Value| {
            value::list_at(service, "spec.clusterIPs").iter().any(|ip| ip == address.as_str())
                || value::str_at(service, "spec.clusterIP") == Some(address)
        };
        if current::reload(request.app, &owner).await?.is_some_and(|s| holds(&s.value)) {
            return Err(request.forbidden(&format!("it is the address of service {}/{}", owner.namespace, owner.name)));
        }
        Ok(())
    }
}

#[async_trait]
impl Plugin for DenyServiceExternalIPs {
    fn name(&self) -> &'static str {
        "DenyServiceExternalIPs"
    }

    async fn validate(&self, request: &Request<'_>, object: &Value) -> Result<(), Status> {
        let kind = &request.target.kind;
        if (kind.group, kind.kind) != ("", "Service") || !request.target.subresource.is_empty() {
            return Ok(());
        }
        let before = request.old.map_or(&[][..], |old| value::list_at(old, "spec.externalIPs"));
        let before: HashSet<&Value> = before.iter().collect();
        let new = value::list_at(object, "spec.externalIPs").iter().any(|address| !before.contains(address));
        if request.operation == Operation::Delete || !new {
            return Ok(());
        }
        Err(request.forbidden("Use of external IPs is denied by admission control"))
    }
}

#[async_trait]
impl Plugin for DeviceAdminAccess {
    fn name(&self) -> &'static str {
        "DeviceAdminAccess"
    }

    async fn validate(&self, request: &Request<'_>, object: &Value) -> Result<(), Status> {
        let kind = &request.target.kind;
        let Some(path) = asks_for_admin(request, object) else { return Ok(()) };
        let namespaces = kinds::by_resource("", "v1", "namespaces").ok_or_else(Status::no_such_resource)?;
        let found = current::load(request.app, &Target::new(namespaces, "", &request.target.namespace)).await?;
        let marked = found.is_some_and(|n| {
            value::map_at(&n.value, "metadata.labels").and_then(|l| l.get(ADMIN_LABEL)).is_some_and(|l| l == "true")
        });
        if marked {
            return Ok(());
        }
        let detail =
            format!("admin access to devices requires the `{ADMIN_LABEL}: true` label on the containing namespace");
        let errors = [Error::forbidden(&path, &detail)];
        Err(Status::invalid(kind.group, kind.kind, &request.target.name, &errors))
    }
}

/// Where the request asks first for access to devices that others use: specs do not change, and what was allocated so before
/// may stay. The paths are upstream's, which name neither the template's own spec nor the form of the request.
fn asks_for_admin(request: &Request<'_>, object: &Value) -> Option<Path> {
    const RESULTS: &str = "status.allocation.devices.results";
    let kind = &request.target.kind;
    let first =
        |of: &Value, list: &str, flag: &str| value::list_at(of, list).iter().position(|one| value::bool_at(one, flag));
    let (list, found) = match (kind.group, kind.kind, request.operation, request.target.subresource) {
        ("resource.k8s.io", "ResourceClaim", Operation::Create, "") => {
            let list = "spec.devices.requests";
            (list, first(object, list, "exactly.adminAccess")?)
        }
        ("resource.k8s.io", "ResourceClaimTemplate", Operation::Create, "") => {
            ("spec.devices.requests", first(object, "spec.spec.devices.requests", "exactly.adminAccess")?)
        }
        ("resource.k8s.io", "ResourceClaim", Operation::Update, "status") => {
            let had = request.old.and_then(|old| first(old, RESULTS, "adminAccess"));
            (RESULTS, first(object, RESULTS, "adminAccess").filter(|_| had.is_none())?)
        }
        _ => return None,
    };
    Some(Path::new(list).index(found).child("adminAccess"))
}

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
        let path = match (kind.group, kind.kind) {
            ("resource.k8s.io", "ResourceClaim") => "spec",
            ("resource.k8s.io", "ResourceClaimTemplate") => "spec.spec",
            _ => return Ok(()),
        };
        let wanted: Vec<usize> = wants_admin(object, path);
        if request.operation != Operation::Create || wanted.is_empty() {
            return Ok(());
        }
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
        let at = |index| {
            Path::new(path).child("devices").child("requests").index(index).child("exactly").child("adminAccess")
        };
        let errors: Vec<Error> = wanted.into_iter().map(|index| Error::forbidden(&at(index), &detail)).collect();
        Err(Status::invalid(kind.group, kind.kind, &request.target.name, &errors))
    }
}

fn wants_admin(object: &Value, path: &str) -> Vec<usize> {
    let requests = value::list_at(object, &format!("{path}.devices.requests"));
    let wants = |r: &Value| value::bool_at(r, "exactly.adminAccess");
    requests.iter().enumerate().filter(|(_, r)| wants(r)).map(|(index, _)| index).collect()
}

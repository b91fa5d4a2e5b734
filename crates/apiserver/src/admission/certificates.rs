//! Who may approve and sign for whom, and what nobody may ask for.

use async_trait::async_trait;
use gantry_api::status::Status;
use gantry_api::{Value, value};

use super::{Operation, Plugin, Request};
use crate::auth::MASTERS;
use crate::rbac::rule::Attributes;
use crate::registry::certificate;

const GROUP: &str = "certificates.k8s.io";

pub(super) struct CertificateApproval;
pub(super) struct CertificateSigning;
pub(super) struct CertificateSubjectRestriction;

fn about(request: &Request<'_>, operation: Operation, subresource: &str) -> bool {
    let target = request.target;
    request.operation == operation && target.kind.group == GROUP && target.subresource == subresource
}

fn signer(object: &Value) -> &str {
    value::str_at(object, "spec.signerName").unwrap_or_default()
}

/// Whether the caller may do this for the signer, or for all of the signer's domain.
async fn may(request: &Request<'_>, verb: &str, signer: &str) -> bool {
    let domain = signer.split('/').next().unwrap_or_default();
    for name in [signer.to_owned(), format!("{domain}/*")] {
        let attributes = Attributes {
            verb: verb.to_owned(),
            group: GROUP.to_owned(),
            version: "*".to_owned(),
            resource: "signers".to_owned(),
            name,
            ..Attributes::default()
        };
        if request.app.authorizer.decide(request.app, &request.caller.user, &attributes).await.is_ok() {
            return true;
        }
    }
    false
}

#[async_trait]
impl Plugin for CertificateApproval {
    fn name(&self) -> &'static str {
        "CertificateApproval"
    }

    async fn validate(&self, request: &Request<'_>, object: &Value) -> Result<(), Status> {
        let signer = signer(object);
        if about(request, Operation::Update, "approval") && !may(request, "approve", signer).await {
            let why = format!("user not permitted to approve requests with signerName {signer:?}");
            return Err(request.forbidden(&why));
        }
        Ok(())
    }
}

#[async_trait]
impl Plugin for CertificateSigning {
    fn name(&self) -> &'static str {
        "CertificateSigning"
    }

    async fn validate(&self, request: &Request<'_>, object: &Value) -> Result<(), Status> {
        let changed = |path| request.old.is_none_or(|old| value::get(old, path) != value::get(object, path));
        let signs = changed("status.certificate") || changed("status.conditions");
        let signer = signer(object);
        if about(request, Operation::Update, "status") && signs && !may(request, "sign", signer).await {
            return Err(request.forbidden(&format!("user not permitted to sign requests with signerName {signer:?}")));
        }
        Ok(())
    }
}

#[async_trait]
impl Plugin for CertificateSubjectRestriction {
    fn name(&self) -> &'static str {
        "CertificateSubjectRestriction"
    }

    async fn validate(&self, request: &Request<'_>, object: &Value) -> Result<(), Status> {
        const CLIENTS: &str = "kubernetes.io/kube-apiserver-client";
        if about(request, Operation::Create, "")
            && signer(object) == CLIENTS
            && organisations(object).iter().any(|o| o == MASTERS)
        {
            let why = format!("use of {CLIENTS} signer with {MASTERS} group is not allowed");
            return Err(request.forbidden(&why));
        }
        Ok(())
    }
}

/// The groups that the certificate would give.
fn organisations(object: &Value) -> Vec<String> {
    let organisations = certificate::read(object, |request| {
        let subject = &request.certification_request_info.subject;
        Ok(subject.iter_organization().filter_map(|o| o.as_str().ok()).map(str::to_owned).collect())
    });
    // What cannot be read is refused by validation.
    organisations.unwrap_or_default()
}

//! Approves certificates for kubelets whose requesters may have them: for themselves (`selfnodeclient`), or for any node (`nodeclient`).

use std::sync::Arc;

use async_trait::async_trait;
use gantry_client::{Client, Key, Object, Reader};
use gantry_controller::{Doing, Error, Outcome, Reconciler, Runner};
use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
    certificates::v1::CertificateSigningRequest,
};

use crate::{
    context::Context,
    signing_request::{self as request, Asked},
};

/// Starts the controller; resolves when it stopped.
pub(super) async fn run(context: Context) {
    let requests = context.readers.signing_requests.clone();
    let runner = Runner::new("csrapproving", 1, context.stop.clone()).watch_keys(&requests);
    runner.run(Arc::new(Controller { client: context.client.clone(), requests })).await;
}

struct Controller {
    client: Client,
    requests: Reader<CertificateSigningRequest>,
}

#[async_trait]
impl Reconciler for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error> {
        let Some(found) = self.requests.get(key).filter(|found| is_undecided(found)) else { return Ok(Outcome::Done) };
        let asked = request::read(&found.spec.request.0)
            .map_err(|why| Error::Refused(format!("unable to parse csr {:?}: {why}", key.name)))?;
        let rights = rights(&found, &asked);
        for (right, message) in rights {
            if self.may(&found, right).await? {
                tracing::info!(request = key.name, right, "approving a kubelet's certificate");
                let approved = request::with(&found, "Approved", "AutoApproved", message);
                let api = self.client.api::<CertificateSigningRequest>();
                let approval = api.update_subresource(&approved, "approval").await;
                approval.doing(|| format!("approve certificate signing request {}", key.name))?;
                return Ok(Outcome::Done);
            }
        }
        if !rights.is_empty() {
            // A right may be given later, and nothing tells of it: upstream tries on, more and more seldom.
            let tried: Vec<_> = rights.iter().map(|(right, _)| *right).collect();
            let why = format!(
                "recognized csr {:?} as [{}] but subject access review was not approved",
                key.name,
                tried.join(" ")
            );
            return Err(Error::Refused(why));
        }
        Ok(Outcome::Done)
    }
}

fn is_undecided(found: &CertificateSigningRequest) -> bool {
    request::certificate(found).is_empty() && !request::has(found, "Approved") && !request::has(found, "Denied")
}

/// The rights one of which is enough, with what is said of the approval.
fn rights(found: &CertificateSigningRequest, asked: &Asked) -> &'static [(&'static str, &'static str)] {
    const RIGHTS: [(&str, &str); 2] = [
        ("selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview."),
        ("nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview."),
    ];
    let usages = found.spec.usages.as_deref().unwrap_or_default();
    if found.spec.signer_name != request::KUBELET_CLIENT || request::kubelet_client(asked, usages).is_err() {
        return &[];
    }
    let is_own = found.spec.username.as_deref().unwrap_or_default() == asked.subject.common_name;
    if is_own { &RIGHTS } else { &RIGHTS[1..] }
}

impl Controller {
    /// Whether the requester has the right to create this subresource of signing requests.
    async fn may(&self, found: &CertificateSigningRequest, right: &str) -> Result<bool, Error> {
        let spec = &found.spec;
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: spec.username.clone(),
                uid: spec.uid.clone(),
                groups: spec.groups.clone(),
                extra: spec.extra.clone(),
                resource_attributes: Some(ResourceAttributes {
                    group: Some("certificates.k8s.io".to_owned()),
                    resource: Some("certificatesigningrequests".to_owned()),
                    subresource: Some(right.to_owned()),
                    verb: Some("create".to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let asking = self.client.api::<SubjectAccessReview>().create(&review).await;
        let answer = asking.doing(|| format!("review the right of the requester of {}", found.key().name))?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::signing_request::Subject;

    #[test]
    fn who_asks_for_itself_may_have_either_right() {
        let check = |user: &str, signer: &str, organization: &str, expected: &[&str]| {
            let found: CertificateSigningRequest = serde_json::from_value(json!({
                "metadata": {"name": "r"},
                "spec": {"request": "", "signerName": signer, "username": user, "usages": ["digital signature", "client auth"]},
            }))
            .expect("a request");
            let mut subject = Subject { common_name: "system:node:a".to_owned(), ..Subject::default() };
            subject.many[1].1.push(organization.to_owned());
            let asked = Asked { subject, ..Asked::default() };
            let given: Vec<_> = rights(&found, &asked).iter().map(|(right, _)| *right).collect();
            assert_eq!(given, expected, "{user} {signer} {organization}");
        };
        check("system:node:a", request::KUBELET_CLIENT, "system:nodes", &["selfnodeclient", "nodeclient"]);
        check("system:bootstrap:x", request::KUBELET_CLIENT, "system:nodes", &["nodeclient"]);
        check("system:node:a", request::KUBELET_SERVING, "system:nodes", &[]);
        check("system:node:a", request::KUBELET_CLIENT, "system:masters", &[]);
    }
}

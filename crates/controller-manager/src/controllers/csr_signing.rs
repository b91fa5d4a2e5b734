//! Signs approved requests for certificates of the four signers that Kubernetes has itself, with the cluster's CA.

mod authority;
mod certificate;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use gantry_client::{Client, Key, Reader};
use gantry_common::clock::SharedClock;
use gantry_controller::{Doing, Error, Outcome, Reconciler, Runner};
use jiff::SignedDuration;
use k8s_openapi::{ByteString, api::certificates::v1::CertificateSigningRequest};

use self::authority::Authority;
use crate::{
    context::Context,
    signing_options::Files,
    signing_request::{self as request, Asked},
};

/// No certificate is shorter (upstream's, twice what it is dated back).
const SHORTEST: Duration = Duration::from_secs(10 * 60);

/// Starts the controller; resolves when it stopped. A signer without certificate and key signs nothing.
pub(super) async fn run(context: Context) {
    let options = &context.options.signing;
    let signers: Vec<_> = SIGNERS.iter().filter_map(|signer| Some((signer, options.files(signer.name)?))).collect();
    if signers.is_empty() {
        tracing::warn!(
            "--cluster-signing-cert-file and --cluster-signing-key-file are not given: no certificate is signed"
        );
        return context.stop.cancelled().await;
    }
    let requests = context.readers.signing_requests.clone();
    let longest = options.cluster_signing_duration;
    let runner = Runner::new("csrsigning", 1, context.stop.clone()).watch_keys(&requests);
    let (client, clock) = (context.client.clone(), Arc::clone(&context.clock));
    runner.run(Arc::new(Controller { client, clock, requests, signers, longest })).await;
}

/// Who signs what.
struct Signer {
    name: &'static str,
    /// Why it refuses a request.
    check: fn(&Asked, &[String]) -> Result<(), String>,
}

const SIGNERS: [Signer; 4] = [
    Signer { name: request::KUBELET_SERVING, check: request::kubelet_serving },
    Signer { name: request::KUBELET_CLIENT, check: request::kubelet_client },
    Signer { name: request::API_CLIENT, check: |_, usages| request::api_client(usages) },
    Signer { name: request::LEGACY, check: |_, _| Ok(()) },
];

struct Controller {
    client: Client,
    clock: SharedClock,
    requests: Reader<CertificateSigningRequest>,
    signers: Vec<(&'static Signer, Files)>,
    /// How long a certificate is good for at most.
    longest: Duration,
}

#[async_trait]
impl Reconciler for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error> {
        let Some(found) = self.requests.get(key).filter(|found| is_wanted(found)) else { return Ok(Outcome::Done) };
        let signer = self.signers.iter().find(|(signer, _)| signer.name == found.spec.signer_name);
        let Some((signer, files)) = signer else { return Ok(Outcome::Done) };
        let name = &key.name;
        let asked = request::read(&found.spec.request.0)
            .map_err(|why| Error::Refused(format!("unable to parse csr {name:?}: {why}")))?;
        let usages = found.spec.usages.clone().unwrap_or_default();
        let answered = match (signer.check)(&asked, &usages) {
            Err(why) => {
                tracing::warn!(request = name, signer = signer.name, why, "refusing to sign a certificate");
                request::with(&found, "Failed", "SignerValidationFailure", &why)
            }
            Ok(()) => {
                let pem = self.sign(&asked, &usages, found.spec.expiration_seconds, files).await;
                let pem = pem.map_err(|why| Error::Refused(format!("error auto signing csr {name:?}: {why}")))?;
                tracing::info!(request = name, signer = signer.name, "signed a certificate");
                let mut signed = CertificateSigningRequest::clone(&found);
                signed.status.get_or_insert_default().certificate = Some(ByteString(pem.into_bytes()));
                signed
            }
        };
        let written = self.client.api::<CertificateSigningRequest>().update_status(&answered).await;
        written.doing(|| format!("answer certificate signing request {name}"))?;
        Ok(Outcome::Done)
    }
}

fn is_wanted(found: &CertificateSigningRequest) -> bool {
    request::certificate(found).is_empty() && request::is_approved(found) && !request::is(found, "Failed")
}

impl Controller {
    async fn sign(
        &self,
        asked: &Asked,
        usages: &[String],
        seconds: Option<i32>,
        files: &Files,
    ) -> Result<String, String> {
        // Read each time: whoever renews the authority need not restart anything.
        let authority = Authority::read(files).await?;
        let (not_before, not_after) =
            authority.validity(self.clock.now(), lasting(seconds, self.longest)).map_err(|error| error.to_string())?;
        let usages = certificate::Usages::named(usages)?;
        certificate::signed(&authority, asked, &usages, not_before, not_after)
    }
}

/// How long a certificate is good for.
fn lasting(seconds: Option<i32>, longest: Duration) -> SignedDuration {
    let asked = seconds.map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(0)));
    let lasting = asked.map_or(longest, |asked| if asked > longest { longest } else { asked.max(SHORTEST) });
    SignedDuration::try_from(lasting).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_certificate_lasts_as_asked_within_bounds() {
        let check = |seconds: Option<i32>, longest: u64, expected: i64| {
            let lasting = lasting(seconds, Duration::from_secs(longest)).as_secs();
            assert_eq!(lasting, expected, "{seconds:?} of {longest}");
        };
        check(None, 3_600, 3_600);
        check(Some(1_800), 3_600, 1_800);
        check(Some(60), 3_600, 600);
        check(Some(7_200), 3_600, 3_600);
        check(Some(-1), 3_600, 600);
    }

    #[test]
    fn what_is_approved_and_open_is_signed() {
        let check = |conditions: &[&str], certificate: &str, expected: bool| {
            let conditions: Vec<_> = conditions.iter().map(|kind| json!({"type": kind, "status": "True"})).collect();
            let found = serde_json::from_value(json!({
                "metadata": {"name": "r"}, "spec": {"request": "", "signerName": "s"},
                "status": {"conditions": conditions, "certificate": certificate},
            }))
            .expect("a request");
            assert_eq!(is_wanted(&found), expected, "{conditions:?} {certificate}");
        };
        check(&["Approved"], "", true);
        check(&[], "", false);
        check(&["Approved", "Denied"], "", false);
        check(&["Approved", "Failed"], "", false);
        check(&["Approved"], "eA==", false);
    }
}

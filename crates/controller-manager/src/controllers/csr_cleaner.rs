//! Deletes certificate signing requests that are over: issued, denied or failed an hour ago, left alone for a day, or expired.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use gantry_client::{DeleteParams, Object};
use gantry_controller::{Doing, Error};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use x509_parser::pem::Pem;

use super::{
    cleaner::{self, Cleaner},
    tokens::settled,
};
use crate::{context::Context, signing_request as request};

/// How long a decision is kept.
const DECIDED: SignedDuration = SignedDuration::from_hours(1);
/// How long a request may wait for a decision, and an approved one for its certificate.
const WAITING: SignedDuration = SignedDuration::from_hours(24);

/// Starts the controller; resolves when it stopped.
pub(super) async fn run(context: Context) {
    cleaner::run(context.stop.clone(), Controller { context }).await;
}

struct Controller {
    context: Context,
}

#[async_trait]
impl Cleaner for Controller {
    const NAME: &'static str = "csrcleaner";
    /// Upstream's interval.
    const EVERY: Duration = Duration::from_secs(60 * 60);
    type Object = CertificateSigningRequest;
    /// When it began.
    type Round = Timestamp;

    async fn begin(&self) -> Result<Option<Timestamp>, Error> {
        Ok(Some(self.context.clock.now()))
    }

    fn objects(&self) -> Vec<Arc<CertificateSigningRequest>> {
        self.context.readers.signing_requests.list()
    }

    async fn clean(&self, now: &Timestamp, found: &CertificateSigningRequest) -> Result<(), Error> {
        let Some(why) = over(found, *now) else { return Ok(()) };
        let name = found.key().name;
        tracing::info!(request = name, why, "deleting a certificate signing request");
        let api = self.context.client.api::<CertificateSigningRequest>();
        let params = DeleteParams::default().uid(found.uid());
        settled(api.delete(&name, &params).await).doing(|| format!("delete certificate signing request {name}"))
    }
}

/// Why a request is to go, if it is.
fn over(found: &CertificateSigningRequest, now: Timestamp) -> Option<&'static str> {
    let is_older = |time: Option<Timestamp>, limit| time.is_some_and(|time| now.duration_since(time) > limit);
    let certificate = request::certificate(found);
    let conditions = request::conditions(found);
    let decided = |kind: &str, limit| {
        let updated = |c: &&_| is_older(last_update(c), limit);
        conditions.iter().filter(|c| c.type_ == kind).any(|c| updated(&c))
    };
    let created = found.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let is_issued = !certificate.is_empty();
    if is_issued && decided("Approved", DECIDED) {
        return Some("it was issued long ago");
    }
    if !is_issued && decided("Approved", WAITING) {
        return Some("it was approved long ago and not issued");
    }
    if decided("Denied", DECIDED) {
        return Some("it was denied long ago");
    }
    if decided("Failed", DECIDED) {
        return Some("it failed long ago");
    }
    if conditions.is_empty() && is_older(created, WAITING) {
        return Some("nobody has looked at it for long");
    }
    (request::has(found, "Approved") && is_expired(certificate, now)).then_some("its certificate has expired")
}

fn last_update(
    condition: &k8s_openapi::api::certificates::v1::CertificateSigningRequestCondition,
) -> Option<Timestamp> {
    condition.last_update_time.as_ref().map(|time| time.0)
}

fn is_expired(pem: &[u8], now: Timestamp) -> bool {
    let Some(Ok(first)) = Pem::iter_from_buffer(pem).next() else { return false };
    first.parse_x509().is_ok_and(|certificate| certificate.validity().not_after.timestamp() < now.as_second())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_is_over_goes() {
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().expect("a time");
        let check = |age: i64, conditions: &[(&str, i64)], issued: bool, expected: bool| {
            let ago = |minutes: i64| (now - SignedDuration::from_mins(minutes)).to_string();
            let conditions: Vec<Value> = conditions
                .iter()
                .map(|(kind, age)| json!({"type": kind, "status": "True", "lastUpdateTime": ago(*age)}))
                .collect();
            let certificate = if issued { json!("eA==") } else { Value::Null };
            let found: CertificateSigningRequest = serde_json::from_value(json!({
                "metadata": {"name": "r", "creationTimestamp": ago(age)},
                "spec": {"request": "", "signerName": "x"},
                "status": {"conditions": conditions, "certificate": certificate},
            }))
            .expect("a request");
            assert_eq!(over(&found, now).is_some(), expected, "{age} {conditions:?} {issued}");
        };
        const DAY: i64 = 24 * 60;
        check(DAY - 1, &[], false, false);
        check(DAY + 1, &[], false, true);
        check(DAY + 1, &[("Approved", 59)], true, false);
        check(DAY + 1, &[("Approved", 61)], true, true);
        check(2 * DAY, &[("Approved", DAY - 1)], false, false);
        check(2 * DAY, &[("Approved", DAY + 1)], false, true);
        check(61, &[("Denied", 59)], false, false);
        check(61, &[("Denied", 61)], false, true);
        check(61, &[("Approved", 61), ("Failed", 61)], false, true);
    }

    #[test]
    fn certificates_expire() {
        let mut params = rcgen::CertificateParams::default();
        params.not_after = rcgen::date_time_ymd(2026, 1, 2);
        let key = rcgen::KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        let at = |time: &str| is_expired(pem.as_bytes(), time.parse().expect("a time"));
        assert_eq!((at("2026-01-01T23:59:59Z"), at("2026-01-02T00:00:01Z")), (false, true));
    }
}

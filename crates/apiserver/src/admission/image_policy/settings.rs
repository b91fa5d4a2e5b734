//! What `ImagePolicyWebhook` is told.

use std::path::PathBuf;
use std::time::Duration;

use gantry_api::duration;
use serde::Deserialize;

use crate::webhooks::Place;

const MILLISECOND: i64 = 1_000_000;
const SECOND: i64 = 1000 * MILLISECOND;
const MINUTE: i64 = 60 * SECOND;

/// The plugin's configuration as it is written: durations are numbers, 0 is the default, -1 is none at all.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::admission) struct ImagePolicy {
    #[serde(default)]
    kube_config_file: PathBuf,
    /// Seconds.
    #[serde(default, rename = "allowTTL")]
    allow_ttl: i64,
    /// Seconds.
    #[serde(default, rename = "denyTTL")]
    deny_ttl: i64,
    /// Milliseconds.
    #[serde(default)]
    retry_backoff: i64,
    #[serde(default)]
    default_allow: bool,
}

/// The configuration, checked.
#[derive(Debug)]
pub(in crate::admission) struct Settings {
    /// Whom to ask.
    pub(super) place: Place,
    pub(super) allow_ttl: Duration,
    pub(super) deny_ttl: Duration,
    /// The first wait before asking again.
    pub(super) retry_backoff: Duration,
    /// What cannot be judged passes.
    pub(super) default_allow: bool,
}

/// A duration of `value` units (nanoseconds each), which must be above the first bound and not above the second.
fn bounded(value: i64, unit: i64, (min, max): (i64, i64), default: i64) -> Result<Duration, String> {
    let nanoseconds = match value {
        -1 => 0,
        0 => default,
        _ => {
            let found = value.saturating_mul(unit);
            if found <= min || found > max {
                let [min, max, found] = [min, max, found].map(duration::go);
                return Err(format!("valid value is between {min} and {max}, got {found}"));
            }
            found
        }
    };
    Ok(Duration::from_nanos(nanoseconds.unsigned_abs()))
}

impl Settings {
    /// Checks the configuration and reads the kubeconfig that it names.
    ///
    /// # Errors
    /// What is wrong, in upstream's words.
    pub(in crate::admission) fn new(written: &ImagePolicy) -> Result<Self, String> {
        let ttl = (SECOND, 30 * MINUTE);
        let retry_backoff = bounded(written.retry_backoff, MILLISECOND, (1, 5 * MINUTE), 500 * MILLISECOND)?;
        let allow_ttl = bounded(written.allow_ttl, SECOND, ttl, 5 * MINUTE)?;
        let deny_ttl = bounded(written.deny_ttl, SECOND, ttl, 30 * SECOND)?;
        let place = Place::load(&written.kube_config_file)?;
        Ok(Self { place, allow_ttl, deny_ttl, retry_backoff, default_allow: written.default_allow })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_defaults_and_bounds() {
        let ttl = |value| bounded(value, SECOND, (SECOND, 30 * MINUTE), 30 * SECOND).map(|d| d.as_secs());
        let check = |value: i64, expected: Result<u64, &str>| {
            assert_eq!(ttl(value), expected.map_err(str::to_owned), "{value}");
        };
        check(0, Ok(30));
        check(-1, Ok(0));
        check(2, Ok(2));
        check(1800, Ok(1800));
        check(1, Err("valid value is between 1s and 30m0s, got 1s"));
        check(1801, Err("valid value is between 1s and 30m0s, got 30m1s"));
        check(-2, Err("valid value is between 1s and 30m0s, got -2s"));
        check(i64::MAX, Err("valid value is between 1s and 30m0s, got 2562047h47m16.854775807s"));
        let backoff = bounded(300_001, MILLISECOND, (1, 5 * MINUTE), 1);
        assert_eq!(backoff, Err("valid value is between 1ns and 5m0s, got 5m0.001s".to_owned()));
    }
}

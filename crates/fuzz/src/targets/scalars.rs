//! Quantities, durations, times, schedules and names: what is read is printed in one form, which reads the same.

use gantry_api::quantity::Quantity;
use gantry_api::{cron, decode, duration, names};

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(quantity) = Quantity::parse(text) {
        let printed = quantity.to_string();
        let again = Quantity::parse(&printed).unwrap_or_else(|e| panic!("{printed:?} of {text:?}: {e}"));
        assert_eq!((&again.to_string(), again.signum()), (&printed, quantity.signum()), "{text:?}");
    }
    if let Ok(nanoseconds) = duration::parse_go(text) {
        let printed = duration::go(nanoseconds);
        assert_eq!(duration::parse_go(&printed), Ok(nanoseconds), "{text:?} and {printed:?}");
    }
    let _ = cron::parse(text);
    for check in [names::dns_label, names::dns_subdomain, names::qualified_name, names::label_value, names::config_key]
    {
        let _ = check(text);
    }
    let mut time = gantry_api::Value::from(text);
    let _ = decode::conform(&mut time, "meta/v1.ObjectMeta");
}

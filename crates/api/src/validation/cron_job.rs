//! Cron jobs: schedule, time zone, and the job that is made.

use super::at::{At, Out, same};
use super::job;
use super::read::{number, some, text, truth};
use crate::{Value, cron};

const UNSET: Value = Value::Null;
/// Jobs are named after the cron job with 11 more characters; a name is a label at most.
const NAME_BYTES: usize = 52;

/// A new cron job.
pub(super) fn create(out: &mut Out, object: &Value) {
    spec(out, object, false, None);
    let name = some(object, "metadata").map_or("", |m| text(m, "name"));
    if name.len() > NAME_BYTES {
        out.invalid(At::Root("metadata.name"), name, "must be no more than 52 characters");
    }
}

/// A changed cron job: one that has a zone in its schedule may keep it, a zone that is gone from the database too.
pub(super) fn update(out: &mut Out, new: &Value, old: &Value) {
    let before = some(old, "spec").unwrap_or(&UNSET);
    spec(out, new, text(before, "schedule").contains("TZ"), Some(before));
}

fn spec(out: &mut Out, object: &Value, zone_in_schedule: bool, before: Option<&Value>) {
    let at = At::Root("spec");
    let spec = some(object, "spec").unwrap_or(&UNSET);
    let zone = some(spec, "timeZone");
    schedule(out, at.child("schedule"), text(spec, "schedule"), zone.is_some(), zone_in_schedule);
    if before.is_none_or(|before| !same(zone, before.get("timeZone"))) {
        time_zone(out, at.child("timeZone"), zone.and_then(Value::as_str));
    }
    out.non_negative(at.child("startingDeadlineSeconds"), number(spec, "startingDeadlineSeconds"));
    out.one_of(at.child("concurrencyPolicy"), text(spec, "concurrencyPolicy"), &["Allow", "Forbid", "Replace"]);
    let template = some(spec, "jobTemplate").unwrap_or(&UNSET);
    let template_at = at.child("jobTemplate");
    let (job_at, job_spec) = (template_at.child("spec"), some(template, "spec").unwrap_or(&UNSET));
    job::spec(out, job_at, job_spec);
    if let Some(selector) = some(job_spec, "selector") {
        out.invalid_of(
            job_at.child("selector"),
            "*meta/v1.LabelSelector",
            selector,
            "`selector` will be auto-generated",
        );
    }
    if truth(job_spec, "manualSelector") {
        out.not_listed(job_at.child("manualSelector"), true, &["nil", "false"]);
    }
    for key in ["successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        out.non_negative(at.child(key), number(spec, key));
    }
}

fn schedule(out: &mut Out, at: At<'_>, schedule: &str, has_zone: bool, zone_in_schedule: bool) {
    if schedule.is_empty() {
        out.required(at, "");
        return;
    }
    if let Err(why) = parse(schedule) {
        out.invalid(at, schedule, &why);
    }
    if schedule.contains("TZ") {
        if zone_in_schedule && has_zone {
            out.invalid(at, schedule, "cannot use both timeZone field and TZ or CRON_TZ in schedule");
        } else if !zone_in_schedule {
            out.invalid(at, schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
        }
    }
}

/// A schedule, perhaps after the zone that old clients put in front of it.
fn parse(schedule: &str) -> Result<(), String> {
    let zoned = schedule.strip_prefix("CRON_TZ=").or_else(|| schedule.strip_prefix("TZ="));
    let rest = match zoned {
        None => schedule,
        Some(zoned) => {
            let (zone, rest) = zoned.split_once(' ').unwrap_or((zoned, ""));
            if !is_zone(zone) {
                return Err(format!("provided bad location {zone}: unknown time zone {zone}"));
            }
            rest.trim()
        }
    };
    cron::parse(rest).map(drop)
}

fn is_zone(name: &str) -> bool {
    let found = jiff::tz::TimeZoneDatabase::bundled().get(name);
    // Names are file names upstream: their case counts.
    found.is_ok_and(|zone| zone.iana_name() == Some(name))
}

fn time_zone(out: &mut Out, at: At<'_>, zone: Option<&str>) {
    let Some(zone) = zone else { return };
    let explicit = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
    if zone.is_empty() {
        out.invalid(at, zone, "timeZone must be nil or non-empty string");
        return;
    }
    if zone.eq_ignore_ascii_case("local") {
        out.invalid(at, zone, explicit);
    }
    // Go knows the machine's own zone by this name, and no other way to write it.
    if zone != "Local" && !is_zone(zone) {
        out.invalid(at, zone, &format!("unknown time zone {zone}"));
    }
}

//! Jobs and cron jobs.

use std::borrow::Cow;

use gantry_api::{Value, duration, value};
use serde_json::json;

use super::columns::{
    AGE, CONTAINERS, IMAGES, NAME, age, cells, column, containers, name, number, of_field, selector_of,
    selector_or_none, since, text, text_or,
};
use super::pod::template_warnings_at;
use super::workload::{TEMPLATE_CONTAINERS, changed_template_warnings, is_newer, name_warning};
use super::{Column, Ctx, Row, Strategy, metadata_field};

/// The strategy of jobs.
pub(super) struct Job;
/// The strategy of cron jobs.
pub(super) struct CronJob;

/// The label that a generated selector asks for.
const SELECTED: &str = "batch.kubernetes.io/controller-uid";

impl Strategy for Job {
    fn prepare_create(&self, _ctx: &Ctx<'_>, job: &mut Value) {
        if !value::bool_at(job, "spec.manualSelector") {
            generate_selector(job);
        }
    }

    fn warnings(&self, job: &Value, old: Option<&Value>) -> Vec<String> {
        let mut out: Vec<String> = name_warning(job, old).into_iter().collect();
        let spec = |o| value::get(o, "spec");
        if old.is_none_or(|old| spec(old) != spec(job)) {
            out.extend(many_indexes("spec", spec(job).unwrap_or(&Value::Null)));
        }
        out.extend(changed_template_warnings(job, old));
        out
    }

    fn field_value<'a>(&self, job: &'a Value, path: &str) -> Option<Cow<'a, str>> {
        match path {
            "status.successful" => Some(number(job, "status.succeeded").to_string().into()),
            _ => metadata_field(job, path),
        }
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                column("Status", "string", "Status of the job."),
                of_field("Completions", "string", "batch/v1.JobStatus", "succeeded"),
                column("Duration", "string", "Time required to complete the job."),
                AGE,
                CONTAINERS,
                IMAGES,
                selector_of("batch/v1.JobSpec"),
            ]
        }
    }

    fn row(&self, job: &Value, now: jiff::Timestamp) -> Row {
        let (names, images) = containers(job, TEMPLATE_CONTAINERS);
        cells(vec![
            name(job),
            status(job).into(),
            completions(job).into(),
            lasted(job, now).into(),
            age(job, now),
            names.into(),
            images.into(),
            selector_or_none(job, "spec.selector").into(),
        ])
    }
}

/// Labels the pods with the job's uid and name, and selects them by the uid. What the user set stays, and validation
/// refuses what does not fit.
fn generate_selector(job: &mut Value) {
    let (job_name, uid) = (text(job, "metadata.name").to_owned(), text(job, "metadata.uid").to_owned());
    if let Some(labels) = value::object_mut(job, "spec.template.metadata.labels") {
        for (label, is) in [
            ("job-name", &job_name),
            ("batch.kubernetes.io/job-name", &job_name),
            ("controller-uid", &uid),
            (SELECTED, &uid),
        ] {
            labels.entry(label).or_insert_with(|| json!(is));
        }
    }
    if let Some(selected) = value::object_mut(job, "spec.selector.matchLabels") {
        selected.entry(SELECTED).or_insert_with(|| json!(uid));
    }
}

fn status(job: &Value) -> &'static str {
    let conditions = value::list_at(job, "status.conditions");
    let is = |kind: &str| conditions.iter().any(|c| text(c, "type") == kind && text(c, "status") == "True");
    match () {
        () if is("Complete") => "Complete",
        () if is("Failed") => "Failed",
        () if value::str_at(job, "metadata.deletionTimestamp").is_some() => "Terminating",
        () if is("Suspended") => "Suspended",
        () if is("FailureTarget") => "FailureTarget",
        () if is("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

fn completions(job: &Value) -> String {
    let succeeded = number(job, "status.succeeded");
    match (value::i64_at(job, "spec.completions"), number(job, "spec.parallelism")) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, workers) if workers > 1 => format!("{succeeded}/1 of {workers}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

fn lasted(job: &Value, now: jiff::Timestamp) -> String {
    let at = |path| value::str_at(job, path).and_then(|t| t.parse::<jiff::Timestamp>().ok());
    let Some(start) = at("status.startTime") else { return String::new() };
    let end = at("status.completionTime").unwrap_or(now);
    duration::human(end.as_second() - start.as_second())
}

/// What is warned of a job that has more indexes than can be told of, by its spec at `at`.
fn many_indexes(at: &str, spec: &Value) -> Option<String> {
    let is_above = |key: &str, most: i64| number(spec, key) > most;
    let many = text(spec, "completionMode") == "Indexed" && is_above("completions", 100_000);
    (many && is_above("parallelism", 10_000)).then(|| {
        format!(
            "{at}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes \
         might not be able to track completedIndexes when a big number of indexes fail"
        )
    })
}

impl Strategy for CronJob {
    fn warnings(&self, job: &Value, old: Option<&Value>) -> Vec<String> {
        let mut out: Vec<String> = name_warning(job, old).into_iter().collect();
        let spec = |o| value::get(o, "spec.jobTemplate.spec");
        if old.is_none_or(|old| spec(old) != spec(job)) {
            out.extend(many_indexes("spec.jobTemplate.spec", spec(job).unwrap_or(&Value::Null)));
        }
        if old.is_none_or(|old| is_newer(job, old)) {
            out.extend(template_warnings_at("spec.jobTemplate.spec.template", job));
        }
        // A new one cannot have a zone there. The path is upstream's.
        if old.is_some() && text(job, "spec.schedule").contains("TZ") {
            out.push(
                "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see \
                 https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
                    .to_owned(),
            );
        }
        out
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                of_field("Schedule", "string", "batch/v1.CronJobSpec", "schedule"),
                of_field("Timezone", "string", "batch/v1.CronJobSpec", "timeZone"),
                of_field("Suspend", "boolean", "batch/v1.CronJobSpec", "suspend"),
                of_field("Active", "integer", "batch/v1.CronJobStatus", "active"),
                of_field("Last Schedule", "string", "batch/v1.CronJobStatus", "lastScheduleTime"),
                AGE,
                CONTAINERS,
                IMAGES,
                selector_of("batch/v1.JobSpec"),
            ]
        }
    }

    fn row(&self, job: &Value, now: jiff::Timestamp) -> Row {
        let (names, images) = containers(job, "spec.jobTemplate.spec.template.spec.containers");
        let last = match text(job, "status.lastScheduleTime") {
            "" => "<none>".to_owned(),
            time => since(time, now),
        };
        let suspend = match value::get(job, "spec.suspend").and_then(Value::as_bool) {
            Some(true) => "True",
            Some(false) => "False",
            None => "<unset>",
        };
        cells(vec![
            name(job),
            text(job, "spec.schedule").into(),
            text_or(job, "spec.timeZone", "<none>").into(),
            suspend.into(),
            value::list_at(job, "status.active").len().into(),
            last.into(),
            age(job, now),
            names.into(),
            images.into(),
            selector_or_none(job, "spec.jobTemplate.spec.selector").into(),
        ])
    }
}

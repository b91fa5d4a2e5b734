//! Autoscalers, disruption budgets, limits and quotas, runtime classes.

use gantry_api::{Value, value};

use super::columns::{AGE, NAME, age, cells, column, name, number, of_field, text, text_or};
use super::pod::old_label;
use super::{Column, Row, Strategy};

/// The strategy of horizontal pod autoscalers.
pub(super) struct HorizontalPodAutoscaler;
/// The strategy of disruption budgets.
pub(super) struct PodDisruptionBudget;
/// The strategy of limit ranges.
pub(super) struct LimitRange;
/// The strategy of resource quotas.
pub(super) struct ResourceQuota;
/// The strategy of runtime classes.
pub(super) struct RuntimeClass;

/// Metrics shown.
const SHOWN: usize = 2;

impl Strategy for HorizontalPodAutoscaler {
    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                of_field("Reference", "string", "autoscaling/v2.HorizontalPodAutoscalerSpec", "scaleTargetRef"),
                of_field("Targets", "string", "autoscaling/v2.HorizontalPodAutoscalerSpec", "metrics"),
                of_field("MinPods", "string", "autoscaling/v2.HorizontalPodAutoscalerSpec", "minReplicas"),
                of_field("MaxPods", "string", "autoscaling/v2.HorizontalPodAutoscalerSpec", "maxReplicas"),
                of_field("Replicas", "string", "autoscaling/v2.HorizontalPodAutoscalerStatus", "currentReplicas"),
                AGE,
            ]
        }
    }

    fn row(&self, object: &Value, now: jiff::Timestamp) -> Row {
        let least = value::i64_at(object, "spec.minReplicas").map_or_else(|| "<unset>".to_owned(), |n| n.to_string());
        let reference =
            format!("{}/{}", text(object, "spec.scaleTargetRef.kind"), text(object, "spec.scaleTargetRef.name"));
        cells(vec![
            name(object),
            reference.into(),
            targets(object).into(),
            least.into(),
            number(object, "spec.maxReplicas").into(),
            number(object, "status.currentReplicas").into(),
            age(object, now),
        ])
    }
}

fn targets(object: &Value) -> String {
    let (wanted, now) = (value::list_at(object, "spec.metrics"), value::list_at(object, "status.currentMetrics"));
    let all: Vec<String> = wanted.iter().enumerate().map(|(i, metric)| target(metric, now.get(i))).collect();
    match all.len() {
        0 => "<none>".to_owned(),
        few if few <= SHOWN => all.join(", "),
        many => format!("{} + {} more...", all[..SHOWN].join(", "), many - SHOWN),
    }
}

fn target(metric: &Value, now: Option<&Value>) -> String {
    let field = match text(metric, "type") {
        "External" => "external",
        "Pods" => "pods",
        "Object" => "object",
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        _ => return "<unknown type>".to_owned(),
    };
    let wanted = |part: &str| value::get(metric, &format!("{field}.target.{part}"));
    let measured = |part: &str| now.and_then(|now| value::get(now, &format!("{field}.current.{part}")));
    let shown = |amount: Option<&Value>, none: &str| match amount {
        Some(Value::String(amount)) => amount.clone(),
        Some(Value::Number(share)) => format!("{share}%"),
        _ => none.to_owned(),
    };
    let pair = |part: &str, none: &str| format!("{}/{}", shown(measured(part), "<unknown>"), shown(wanted(part), none));
    match field {
        "pods" => pair("averageValue", ""),
        "external" | "object" if wanted("averageValue").is_some() => format!("{} (avg)", pair("averageValue", "")),
        "external" | "object" => pair("value", ""),
        _ => {
            let resource = text(metric, &format!("{field}.name")).to_owned();
            let part = if wanted("averageValue").is_some() { "averageValue" } else { "averageUtilization" };
            format!("{resource}: {}", pair(part, "<auto>"))
        }
    }
}

impl Strategy for PodDisruptionBudget {
    fn unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                column("Min Available", "string", "The minimum number of pods that must be available."),
                column("Max Unavailable", "string", "The maximum number of pods that may be unavailable."),
                column(
                    "Allowed Disruptions",
                    "integer",
                    "Calculated number of pods that may be disrupted at this time.",
                ),
                AGE,
            ]
        }
    }

    fn row(&self, budget: &Value, now: jiff::Timestamp) -> Row {
        let amount = |path: &str| match value::get(budget, path) {
            Some(Value::String(share)) => share.clone(),
            Some(Value::Number(count)) => count.to_string(),
            _ => "N/A".to_owned(),
        };
        cells(vec![
            name(budget),
            amount("spec.minAvailable").into(),
            amount("spec.maxUnavailable").into(),
            number(budget, "status.disruptionsAllowed").into(),
            age(budget, now),
        ])
    }
}

impl Strategy for LimitRange {
    fn create_on_update(&self) -> bool {
        true
    }
}

impl Strategy for ResourceQuota {
    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                column(
                    "Request",
                    "string",
                    "Request represents a minimum amount of cpu/memory that a container may consume.",
                ),
                column(
                    "Limit",
                    "string",
                    "Limits control the maximum amount of cpu/memory that a container may use independent of contention on the node.",
                ),
                AGE,
            ]
        }
    }

    fn row(&self, quota: &Value, now: jiff::Timestamp) -> Row {
        let (mut requests, mut limits) = (Vec::new(), Vec::new());
        for (resource, hard) in value::map_at(quota, "status.hard").into_iter().flatten() {
            let used = value::map_at(quota, "status.used").and_then(|u| u.get(resource)?.as_str()).unwrap_or("0");
            let shown = format!("{resource}: {used}/{}", hard.as_str().unwrap_or_default());
            if resource.starts_with("limits.") { &mut limits } else { &mut requests }.push(shown);
        }
        cells(vec![name(quota), requests.join(", ").into(), limits.join(", ").into(), age(quota, now)])
    }
}

impl Strategy for RuntimeClass {
    fn unconditional_update(&self) -> bool {
        false
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn warnings(&self, class: &Value, _old: Option<&Value>) -> Vec<String> {
        let labels = value::map_at(class, "scheduling.nodeSelector").into_iter().flatten();
        labels.filter_map(|(key, _)| Some(format!("scheduling.nodeSelector: {}", old_label(key)?))).collect()
    }

    fn columns(&self) -> &'static [Column] {
        const { &[NAME, column("Handler", "string", ""), AGE] }
    }

    fn row(&self, class: &Value, now: jiff::Timestamp) -> Row {
        cells(vec![name(class), text_or(class, "handler", "").into(), age(class, now)])
    }
}

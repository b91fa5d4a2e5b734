//! The events section.

use gantry_api::value::{Value, i64_at, str_at};
use jiff::Timestamp;

use super::Page;
use crate::output::align;

fn age(text: Option<&str>, now: Timestamp) -> String {
    match text.and_then(|t| t.parse::<Timestamp>().ok()) {
        Some(at) => gantry_api::duration::human(now.as_second() - at.as_second()),
        None => "<unknown>".to_owned(),
    }
}

/// A table of events, oldest first.
pub(super) fn section(page: &mut Page, events: &[Value], now: Timestamp) {
    if events.is_empty() {
        page.entry(0, "Events", "<none>");
        return;
    }
    let mut sorted: Vec<&Value> = events.iter().collect();
    sorted.sort_by_key(|e| str_at(e, "lastTimestamp").or_else(|| str_at(e, "eventTime")).unwrap_or("").to_owned());
    page.text(0, "Events:");
    let titles = ["Type", "Reason", "Age", "From", "Message"];
    let mut lines = vec![titles.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>()];
    lines.push(titles.iter().map(|t| "-".repeat(t.len())).collect());
    for event in sorted {
        let last = str_at(event, "lastTimestamp").or_else(|| str_at(event, "eventTime"));
        let count = i64_at(event, "count").unwrap_or(1);
        let when = if count > 1 {
            format!("{} (x{count} over {})", age(last, now), age(str_at(event, "firstTimestamp"), now))
        } else {
            age(last, now)
        };
        lines.push(vec![
            str_at(event, "type").unwrap_or("").to_owned(),
            str_at(event, "reason").unwrap_or("").to_owned(),
            when,
            str_at(event, "source.component").or_else(|| str_at(event, "reportingComponent")).unwrap_or("").to_owned(),
            str_at(event, "message").unwrap_or("").trim().to_owned(),
        ]);
    }
    page.block(1, &align(&lines));
}

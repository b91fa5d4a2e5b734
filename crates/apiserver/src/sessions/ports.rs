//! The ports of a port-forward, which become known one by one: each is named in the audit log.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::app::App;
use crate::audit::Event;

/// Bytes of a list of ports that an event shows; each port has an event of its own, too.
const TEXT_BYTES_MAX: usize = 4096;

/// The ports of one port-forward.
pub(crate) struct Ports {
    app: Arc<App>,
    /// That it has begun.
    event: Event,
    used: Mutex<BTreeSet<u16>>,
}

impl Ports {
    /// None so far, of the port-forward whose beginning `event` tells.
    pub(super) fn new(app: &Arc<App>, event: Event) -> Arc<Self> {
        Arc::new(Self { app: app.clone(), event, used: Mutex::default() })
    }

    /// A connection to this port is asked for: at the first one an event names it.
    pub(super) fn used(&self, port: u16) {
        if !self.used.lock().insert(port) {
            return;
        }
        let mut event = self.event.clone();
        event.annotations.insert("gantry.dev/port".into(), port.to_string());
        event.stage_timestamp = crate::audit::time(self.app.clock.now());
        self.app.audit.write(&event);
    }

    /// All of them, for the event of the end; nothing where there was none.
    pub(super) fn text(&self) -> Option<String> {
        Some(text(&self.used.lock())).filter(|text| !text.is_empty())
    }
}

/// Ports in order, those that follow each other as a range.
fn text(ports: &BTreeSet<u16>) -> String {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for port in ports {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*port) => *last = *port,
            _ => ranges.push((*port, *port)),
        }
    }
    let mut text = String::new();
    for (first, last) in ranges {
        if text.len() > TEXT_BYTES_MAX {
            text.push_str(",...");
            break;
        }
        let comma = if text.is_empty() { "" } else { "," };
        let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
        text.push_str(&format!("{comma}{range}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_listed_as_ranges_within_a_bound() {
        let check = |ports: &[u16], expected: &str| assert_eq!(text(&ports.iter().copied().collect()), expected);
        check(&[], "");
        check(&[80], "80");
        check(&[443, 80], "80,443");
        check(&[8000, 8001, 8002, 80, 65535], "80,8000-8002,65535");
        let odd: Vec<u16> = (1..=u16::MAX).step_by(2).collect();
        let long = text(&odd.into_iter().collect());
        assert!(long.ends_with(",...") && long.len() < TEXT_BYTES_MAX + 16, "{} bytes", long.len());
    }
}

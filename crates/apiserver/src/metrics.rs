//! Figures of the API server in Prometheus' text form, with upstream's names where there is one.

pub(crate) mod access;
pub(crate) mod admission;
pub(crate) mod cel;
pub(crate) mod conversions;
pub(crate) mod flows;
pub(crate) mod hooks;
pub(crate) mod judges;
pub(crate) mod legacy_tokens;
pub(crate) mod peak;
pub(crate) mod policies;
pub(crate) mod requests;
pub(crate) mod resources;
mod series;
pub(crate) mod slis;
pub(crate) mod store;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gantry_common::metrics::{Page, float};
use sha2::{Digest as _, Sha256};

/// The kinds of sessions.
pub(crate) const SESSIONS: [&str; 6] = ["log", "exec", "attach", "port_forward", "stats", "proxy"];
/// Label sets kept at most of each figure, where users choose labels; elsewhere it is a fuse.
pub(crate) const SERIES_MAX: usize = 4096;

/// What is not to be shown itself, as upstream shows its hash in figures, logs and errors; nothing of nothing.
pub(crate) fn hash(bytes: impl AsRef<[u8]>) -> String {
    let bytes = bytes.as_ref();
    if bytes.is_empty() {
        return String::new();
    }
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// A number that changes.
#[derive(Debug, Default)]
pub(crate) struct Number(AtomicU64);

impl Number {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Sessions of one kind.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Open now.
    pub(crate) open: Number,
    /// Ever opened.
    pub(crate) opened: Number,
    /// Asked for and refused, by the server or the node.
    pub(crate) refused: Number,
}

/// All figures of one server that it counts while it serves; others are looked up when somebody asks (`rest/metrics.rs`).
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) requests: requests::Requests,
    pub(crate) resources: resources::Resources,
    pub(crate) admission: admission::Steps,
    pub(crate) hooks: hooks::Hooks,
    pub(crate) judges: judges::Judges,
    pub(crate) policies: policies::Policies,
    pub(crate) conversions: conversions::Conversions,
    pub(crate) slis: slis::Slis,
    pub(crate) unavailable: resources::Unavailable,
    /// Of calls to etcd, which a layer over the store counts.
    pub(crate) store: Arc<store::Figures>,
    pub(crate) tls_failures: Number,
    pub(crate) sessions: [Kept; SESSIONS.len()],
    pub(crate) conflicts: Number,
    pub(crate) refused: Number,
}

impl Metrics {
    /// Forgets what was counted of a resource that is not served any more.
    pub(crate) fn forget(&self, group: &str, resource: &str) {
        self.requests.forget(group, resource);
        self.resources.forget(group, resource);
        self.store.forget(group, resource);
    }

    /// The numbers of a kind of session, one of [`SESSIONS`].
    pub(crate) fn sessions(&self, kind: &str) -> &Kept {
        let at = SESSIONS.iter().position(|k| *k == kind).unwrap_or_default();
        &self.sessions[at]
    }

    fn render_sessions(&self, page: &mut Page) {
        type Read = fn(&Kept) -> u64;
        let rows: [(&str, &str, &str, Read); 3] = [
            ("gantry_node_sessions", "gauge", "Sessions with nodes that are open.", |k| k.open.get()),
            ("gantry_node_sessions_opened_total", "counter", "Sessions that were opened.", |k| k.opened.get()),
            ("gantry_node_sessions_refused_total", "counter", "Sessions that were refused.", |k| k.refused.get()),
        ];
        for (name, kind, help, read) in rows {
            let mut family = page.family(name, kind, help);
            for (session, kept) in SESSIONS.iter().zip(&self.sessions) {
                family.sample(&[("kind", session)], float(read(kept)));
            }
        }
    }

    /// Shows what is counted; `chain`: the names of the admission plugins, as [`admission::Steps::render`] wants them.
    pub(crate) fn render(&self, page: &mut Page, chain: &[(&'static str, bool)]) {
        self.requests.render(page);
        self.resources.render(page);
        self.admission.render(page, chain);
        self.hooks.render(page);
        self.judges.render(page);
        self.policies.render(page);
        self.conversions.render(page);
        self.unavailable.render(page);
        self.store.render(page);
        cel::render(page);
        self.render_sessions(page);
        for (name, help, value) in [
            ("apiserver_tls_handshake_errors_total", "[ALPHA] TLS handshakes that failed.", self.tls_failures.get()),
            ("gantry_write_conflicts_total", "Compare-and-swap writes that were tried again.", self.conflicts.get()),
            ("apiserver_dropped_requests_total", "Requests answered 429.", self.refused.get()),
        ] {
            page.single(name, "counter", help, float(value));
        }
    }
}

//! Counters of service-account tokens that are kept in Secrets, with upstream's names.

use gantry_common::metrics::{Page, float};

use super::Number;

/// Uses, by what is to be thought of them.
#[derive(Debug, Default)]
pub(crate) struct LegacyTokens {
    /// All.
    pub(crate) used: Number,
    /// Of tokens that the cluster has made for an account.
    pub(crate) generated: Number,
    /// Of tokens whose Secret a user has made.
    pub(crate) manual: Number,
    /// Of tokens that have been marked invalid.
    pub(crate) invalidated: Number,
}

impl LegacyTokens {
    pub(crate) fn render(&self, page: &mut Page) {
        let rows = [
            ("legacy_tokens_total", "Legacy service account tokens used", &self.used),
            ("legacy_auto_token_uses_total", "Auto-generated legacy tokens used", &self.generated),
            ("legacy_manual_token_uses_total", "Manually created legacy tokens used", &self.manual),
            ("invalid_legacy_auto_token_uses_total", "Invalid auto-generated legacy tokens used", &self.invalidated),
        ];
        for (name, help, number) in rows {
            let (name, help) = (format!("serviceaccount_{name}"), format!("[ALPHA] {help}"));
            page.single(&name, "counter", &help, float(number.get()));
        }
    }
}

//! Reinvocation: what changed an object may have changed what others saw, so some are asked again, once.

use std::collections::BTreeSet;

use gantry_api::Value;

/// What one plugin has asked.
#[derive(Debug, Default)]
struct Asked {
    /// Those that want to be asked again when somebody changes the object after them.
    before: BTreeSet<String>,
    /// Those that are due in the second round.
    due: BTreeSet<String>,
    /// The object after the plugin's last turn.
    last: Option<Value>,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    Policies,
    Webhooks,
}

/// The rounds of one request.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    changed: bool,
    second: bool,
    policies: Asked,
    webhooks: Asked,
}

impl Rounds {
    fn of(&mut self, asker: Asker) -> &mut Asked {
        match asker {
            Asker::Policies => &mut self.policies,
            Asker::Webhooks => &mut self.webhooks,
        }
    }

    /// Whether a webhook or policy has changed the object.
    pub(crate) fn is_changed(&self) -> bool {
        self.changed
    }

    /// Begins the second round, if there has to be one.
    pub(super) fn begin_second(&mut self) -> bool {
        let begins = self.changed && !self.second;
        self.second |= begins;
        begins
    }

    /// The number of the round, as audit annotations count it.
    pub(super) fn number(&self) -> u8 {
        u8::from(self.second)
    }

    /// A plugin's turn begins: whoever changed the object since its last one made others' answers old.
    pub(super) fn begin(&mut self, asker: Asker, object: &Value) {
        if self.second && self.of(asker).last.as_ref().is_some_and(|last| last != object) {
            self.require(asker);
        }
    }

    /// A plugin's turn ends.
    pub(super) fn end(&mut self, asker: Asker, object: &Value) {
        if !self.second && self.changed {
            self.of(asker).last = Some(object.clone());
        }
    }

    /// Whether this one is asked in this round.
    pub(super) fn is_due(&mut self, asker: Asker, key: &str) -> bool {
        !self.second || self.of(asker).due.contains(key)
    }

    /// The object is another now.
    pub(super) fn change(&mut self, asker: Asker) {
        self.changed = true;
        self.require(asker);
    }

    /// This one was asked, and wants to be asked again.
    pub(super) fn repeat(&mut self, asker: Asker, key: &str) {
        self.of(asker).before.insert(key.to_owned());
    }

    fn require(&mut self, asker: Asker) {
        let asked = self.of(asker);
        asked.due.append(&mut asked.before);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn those_before_a_change_are_asked_again() {
        let mut rounds = Rounds::default();
        let object = json!({"a": 1});
        rounds.begin(Asker::Webhooks, &object);
        assert!(rounds.is_due(Asker::Webhooks, "first"));
        rounds.repeat(Asker::Webhooks, "first");
        rounds.change(Asker::Webhooks);
        rounds.repeat(Asker::Webhooks, "second");
        rounds.end(Asker::Webhooks, &object);
        assert!(rounds.begin_second() && !rounds.begin_second(), "there are two rounds");
        rounds.begin(Asker::Webhooks, &object);
        assert!(rounds.is_due(Asker::Webhooks, "first"));
        assert!(!rounds.is_due(Asker::Webhooks, "second"), "nothing has changed since");
        assert!(!rounds.is_due(Asker::Webhooks, "never asked"));
    }

    #[test]
    fn a_change_by_others_makes_all_due() {
        let mut rounds = Rounds::default();
        rounds.repeat(Asker::Policies, "p");
        rounds.change(Asker::Webhooks);
        rounds.end(Asker::Policies, &json!(1));
        assert!(rounds.begin_second());
        rounds.begin(Asker::Policies, &json!(2));
        assert!(rounds.is_due(Asker::Policies, "p"));
    }

    #[test]
    fn nothing_changed_nothing_repeated() {
        assert!(!Rounds::default().begin_second());
    }
}

//! Who decides what callers may do: `--authorization-mode` and its kin, or the file of `--authorization-config`.

mod abac;
pub(crate) mod reload;
mod webhook;
mod written;

use std::sync::Arc;

use self::abac::Policies;
use self::webhook::Webhook;
use crate::config::Authorization;
use crate::metrics::Number;

/// All kinds, as the flag and the file name them.
const KINDS: [&str; 6] = ["ABAC", "AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook"];

/// One that decides.
pub(crate) struct Link {
    /// Its name in metrics.
    pub(crate) name: String,
    pub(crate) judge: Judge,
    pub(crate) decided: Arc<Decided>,
}

/// What one allowed, and what it denied so that nobody else was asked.
#[derive(Debug, Default)]
pub(crate) struct Decided {
    pub(crate) allowed: Number,
    pub(crate) denied: Number,
}

/// How one decides.
pub(crate) enum Judge {
    /// Nodes may reach what their own pods need.
    Node,
    /// Roles and bindings.
    Rbac,
    AlwaysAllow,
    AlwaysDeny,
    /// The lines of a file.
    Abac(Policies),
    /// Whoever answers elsewhere.
    Webhook(Box<Webhook>),
}

/// What one has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Opinion {
    /// Yes, and why.
    Allow(String),
    /// No, whatever others say.
    Deny { reason: String, error: String },
    /// Others may say.
    None { reason: String, error: String },
}

impl Opinion {
    pub(crate) fn none(reason: impl Into<String>) -> Self {
        Self::None { reason: reason.into(), error: String::new() }
    }
}

impl Link {
    fn new(judge: Judge, name: &str) -> Self {
        Self { name: name.to_owned(), judge, decided: Arc::default() }
    }

    /// What it is called in the flag.
    pub(crate) fn kind(&self) -> &'static str {
        match self.judge {
            Judge::Node => "Node",
            Judge::Rbac => "RBAC",
            Judge::AlwaysAllow => "AlwaysAllow",
            Judge::AlwaysDeny => "AlwaysDeny",
            Judge::Abac(_) => "ABAC",
            Judge::Webhook(_) => "Webhook",
        }
    }
}

/// Whether everything may be allowed to everybody: nobody may stay nameless then.
pub(crate) fn allows_all(chain: &[Link]) -> bool {
    chain.iter().any(|link| matches!(link.judge, Judge::AlwaysAllow))
}

/// Those who decide, in their order, and the file that says so, if one does.
///
/// # Errors
/// What is wrong with flags or files, in upstream's words where it has them.
pub(crate) fn chain(flags: &Authorization) -> Result<(Vec<Link>, Option<reload::File>), String> {
    match &flags.config_file {
        Some(path) if flags.is_default() => reload::File::load(path).map(|(chain, file)| (chain, Some(file))),
        Some(_) => Err("--authorization-config can not be specified when --authorization-mode or \
                        --authorization-webhook-* flags are defined"
            .to_owned()),
        None => of_flags(flags).map(|chain| (chain, None)),
    }
}

/// The judge of a kind that needs to be told nothing.
fn plain(kind: &str) -> Option<Judge> {
    Some(match kind {
        "Node" => Judge::Node,
        "RBAC" => Judge::Rbac,
        "AlwaysAllow" => Judge::AlwaysAllow,
        "AlwaysDeny" => Judge::AlwaysDeny,
        _ => return None,
    })
}

fn of_flags(flags: &Authorization) -> Result<Vec<Link>, String> {
    check(flags)?;
    let mut chain = Vec::new();
    for mode in flags.modes() {
        let judge = match (mode, &flags.policy_file, &flags.webhook_config_file) {
            ("ABAC", Some(path), _) => Judge::Abac(Policies::load(path)?),
            ("Webhook", _, Some(path)) => Judge::Webhook(Box::new(Webhook::of_flags(flags, path)?)),
            (mode, ..) => plain(mode).ok_or_else(|| format!("authorization-mode {mode:?} is not a valid mode"))?,
        };
        // As upstream names them.
        let name = if mode == "Webhook" { "default".to_owned() } else { mode.to_lowercase() };
        chain.push(Link::new(judge, &name));
    }
    Ok(chain)
}

/// Whether the flags go together.
fn check(flags: &Authorization) -> Result<(), String> {
    let modes: Vec<&str> = flags.modes().collect();
    let has = |mode: &str| modes.contains(&mode);
    let unless = |good: bool, why: &str| if good { Ok(()) } else { Err(why.to_owned()) };
    unless(!modes.is_empty(), "at least one authorization-mode must be passed")?;
    if let Some(mode) = modes.iter().find(|mode| !KINDS.contains(mode)) {
        return Err(format!("authorization-mode {mode:?} is not a valid mode"));
    }
    let (policy, webhook) = (flags.policy_file.is_some(), flags.webhook_config_file.is_some());
    unless(policy || !has("ABAC"), "authorization-mode ABAC's authorization policy file not passed")?;
    unless(webhook || !has("Webhook"), "authorization-mode Webhook's authorization config file not passed")?;
    unless(!policy || has("ABAC"), "cannot specify --authorization-policy-file without mode ABAC")?;
    unless(!webhook || has("Webhook"), "cannot specify --authorization-webhook-config-file without mode Webhook")?;
    let repeated = modes.iter().enumerate().any(|(at, mode)| modes[..at].contains(mode));
    let shown = modes.iter().map(|mode| format!("{mode:?}")).collect::<Vec<_>>().join(" ");
    unless(!repeated, &format!("authorization-mode [{shown}] has mode specified more than once"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(modes: &str) -> Authorization {
        Authorization { mode: modes.split_terminator(',').map(str::to_owned).collect(), ..Authorization::default() }
    }

    #[test]
    fn modes_are_asked_in_their_order() {
        let check = |modes: &str, expected: &[(&str, &str)]| {
            let (chain, _) = chain(&flags(modes)).expect(modes);
            let found: Vec<(&str, &str)> = chain.iter().map(|link| (link.kind(), link.name.as_str())).collect();
            assert_eq!(found, expected, "{modes}");
        };
        check("", &[("Node", "node"), ("RBAC", "rbac")]);
        check("RBAC,Node", &[("RBAC", "rbac"), ("Node", "node")]);
        check("AlwaysDeny,AlwaysAllow", &[("AlwaysDeny", "alwaysdeny"), ("AlwaysAllow", "alwaysallow")]);
        assert!(allows_all(&chain(&flags("RBAC,AlwaysAllow")).expect("good").0));
        assert!(!allows_all(&chain(&flags("")).expect("good").0));
    }

    #[test]
    fn flags_that_do_not_go_together_are_refused() {
        let check = |flags: &Authorization, expected: &str| {
            let found = chain(flags).err().unwrap_or_default();
            assert!(found.contains(expected), "{flags:?}: {found}");
        };
        let file = Some("/nowhere/x".into());
        check(&flags(",RBAC"), "authorization-mode \"\" is not a valid mode");
        check(&flags("Nonsense"), "authorization-mode \"Nonsense\" is not a valid mode");
        check(
            &flags("RBAC,Node,RBAC"),
            "authorization-mode [\"RBAC\" \"Node\" \"RBAC\"] has mode specified more than once",
        );
        check(&flags("ABAC"), "authorization-mode ABAC's authorization policy file not passed");
        check(&flags("Webhook"), "authorization-mode Webhook's authorization config file not passed");
        let policy = Authorization { policy_file: file.clone(), ..flags("RBAC") };
        check(&policy, "cannot specify --authorization-policy-file without mode ABAC");
        check(&Authorization { policy_file: file.clone(), ..flags("ABAC") }, "cannot read /nowhere/x");
        let webhook = |modes: &str| Authorization { webhook_config_file: file.clone(), ..flags(modes) };
        check(&webhook("RBAC"), "cannot specify --authorization-webhook-config-file without mode Webhook");
        check(&webhook("Webhook"), "cannot read /nowhere/x");
        let version = Authorization { webhook_version: Some("v2".to_owned()), ..webhook("Webhook") };
        check(&version, "unsupported webhook authorizer version \"v2\", supported versions are \"v1\", \"v1beta1\"");
        let both = Authorization { config_file: file.clone(), ..flags("RBAC") };
        check(&both, "--authorization-config can not be specified when --authorization-mode or");
        check(&Authorization { config_file: file.clone(), ..flags("") }, "cannot read /nowhere/x");
    }
}

//! Constrained impersonation (KEP-5284): acting as someone else in one of a few modes, and only for what may be done in it.
//!
//! A mode asks for two things: the verb `impersonate:<mode>` on whom the caller wants to be, and `impersonate-on:<mode>:<verb>` on
//! what is asked for. Whoever has neither may still have the plain verb `impersonate`.

use gantry_api::names;

use super::impersonation::{Impersonation, Needed, service_account};
use super::{AUTHENTICATED, MASTERS, NODE_OF_TOKEN, NODE_PREFIX, NODES, SERVICE_ACCOUNTS, UNAUTHENTICATED, User};

const GROUP: &str = "authentication.k8s.io";
/// From so many groups or extras on, the permission for all of them is looked for first.
const MANY: usize = 4;

/// A way of acting as someone else, in the order in which they are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A service account acts as the node that its pod runs on.
    AssociatedNode,
    ArbitraryNode,
    ServiceAccount,
    /// Everybody else, with groups, uid and extras.
    UserInfo,
}

/// What a mode asks for, one after another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// The permission for this.
    Needs(Needed),
    /// The permission for the first, or else for each of the others.
    Either(Needed, Vec<Needed>),
    /// It cannot be permitted, and why.
    Never(Needed, String),
}

fn node(name: &str) -> Option<&str> {
    name.strip_prefix(NODE_PREFIX).filter(|node| names::dns_subdomain(node).is_empty())
}

fn needed(resource: &'static str, name: &str) -> Needed {
    let (subresource, namespace) = (String::new(), String::new());
    Needed { group: GROUP, resource, subresource, namespace, name: name.to_owned() }
}

impl Mode {
    pub(crate) const ALL: [Self; 4] = [Self::AssociatedNode, Self::ArbitraryNode, Self::ServiceAccount, Self::UserInfo];

    /// As verbs name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AssociatedNode => "associated-node",
            Self::ArbitraryNode => "arbitrary-node",
            Self::ServiceAccount => "serviceaccount",
            Self::UserInfo => "user-info",
        }
    }

    /// Whether it is for what is asked.
    pub(crate) fn fits(self, asked: &Impersonation, caller: &User) -> bool {
        let name = &asked.user.name;
        let only_name = asked.groups.is_empty() && asked.user.uid.is_empty() && asked.user.extra.is_empty();
        match self {
            Self::AssociatedNode => {
                let own = caller.extra.get(NODE_OF_TOKEN).map(Vec::as_slice);
                let is_own = |node: &str| matches!(own, Some([own]) if own == node);
                only_name && service_account(&caller.name).is_some() && node(name).is_some_and(is_own)
            }
            Self::ArbitraryNode => only_name && node(name).is_some(),
            Self::ServiceAccount => only_name && service_account(name).is_some(),
            Self::UserInfo => node(name).is_none() && service_account(name).is_none(),
        }
    }

    /// Whom the caller becomes.
    pub(crate) fn user(self, asked: &Impersonation) -> User {
        let mut user = User { groups: Vec::new(), ..asked.user.clone() };
        match (self, service_account(&asked.user.name)) {
            (Self::AssociatedNode | Self::ArbitraryNode, _) => user.add_group(NODES),
            (Self::ServiceAccount, Some((namespace, _))) => {
                user.add_group(SERVICE_ACCOUNTS);
                user.add_group(&format!("{SERVICE_ACCOUNTS}:{namespace}"));
            }
            _ => user.groups.clone_from(&asked.groups),
        }
        if user.is_anonymous() {
            user.add_group(UNAUTHENTICATED);
        } else if !user.in_group(UNAUTHENTICATED) {
            user.add_group(AUTHENTICATED);
        }
        user
    }

    /// What `impersonate:<mode>` has to be permitted on.
    pub(crate) fn steps(self, asked: &Impersonation) -> Vec<Step> {
        let name = &asked.user.name;
        let whom = match (self, node(name), service_account(name)) {
            // Whichever node it is: it is the caller's own.
            (Self::AssociatedNode, ..) => needed("nodes", "*"),
            (_, Some(node), _) => needed("nodes", node),
            (_, _, Some((namespace, account))) => {
                Needed { namespace: namespace.to_owned(), ..needed("serviceaccounts", account) }
            }
            _ => needed("users", name),
        };
        let mut steps = vec![Step::Needs(whom)];
        if !asked.user.uid.is_empty() {
            steps.push(Step::Needs(needed("uids", &asked.user.uid)));
        }
        groups(asked, &mut steps);
        extras(asked, &mut steps);
        steps
    }
}

fn groups(asked: &Impersonation, steps: &mut Vec<Step>) {
    if asked.groups.iter().any(String::is_empty) {
        steps.push(Step::Never(needed("groups", ""), "impersonating the empty string group is not allowed".to_owned()));
    } else if asked.groups.iter().any(|group| group == MASTERS) {
        let why = format!("impersonating the {MASTERS} group is not allowed");
        steps.push(Step::Never(needed("groups", MASTERS), why));
    }
    let each = asked.groups.iter().map(|group| needed("groups", group)).collect();
    all_or_each(needed("groups", "*"), each, asked.groups.len(), steps);
}

fn extras(asked: &Impersonation, steps: &mut Vec<Step>) {
    let extra = |key: &str, value: &str| Needed { subresource: key.to_owned(), ..needed("userextras", value) };
    let wrong = asked.user.extra.iter().find_map(|(key, values)| {
        let is_path = |path: &str| !path.is_empty() && path.bytes().all(|b| b.is_ascii_graphic());
        let fits = key.split_once('/').is_some_and(|(domain, path)| names::dns_subdomain(domain).is_empty() && is_path(path));
        match key {
            _ if key.is_empty() => Some("impersonating the empty string key in extra is not allowed".to_owned()),
            _ if !fits => Some(format!(
                "impersonating an invalid key in extra is not allowed: extra.key: Invalid value: {key:?}: must be a domain-prefixed path (such as \"acme.io/foo\")"
            )),
            _ if *key != key.to_lowercase() => {
                Some(format!("impersonating a non-lowercase key in extra is not allowed: {key:?}"))
            }
            _ if values.iter().any(String::is_empty) => {
                Some("impersonating the empty string value in extra is not allowed".to_owned())
            }
            _ => None,
        }
    });
    if let Some(why) = wrong {
        steps.push(Step::Never(needed("userextras", ""), why));
    }
    let pairs = asked.user.extra.iter().flat_map(|(key, values)| values.iter().map(move |value| (key, value)));
    let each: Vec<Needed> = pairs.map(|(key, value)| extra(key, value)).collect();
    let count = each.len().max(asked.user.extra.len());
    all_or_each(extra("*", "*"), each, count, steps);
}

fn all_or_each(all: Needed, each: Vec<Needed>, count: usize, steps: &mut Vec<Step>) {
    if count >= MANY {
        steps.push(Step::Either(all, each));
    } else {
        steps.extend(each.into_iter().map(Step::Needs));
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::super::impersonation::requested;
    use super::*;

    fn asked(pairs: &[(&'static str, &'static str)]) -> Impersonation {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().expect("valid"));
        }
        requested(&headers).expect("valid").expect("asked")
    }

    #[test]
    fn each_mode_is_for_some() {
        use Mode::{ArbitraryNode, AssociatedNode, ServiceAccount, UserInfo};
        let mut agent = User::new("system:serviceaccount:a:agent", &[]);
        agent.extra.insert(NODE_OF_TOKEN.to_owned(), vec!["n1".to_owned()]);
        let check = |pairs: &[(&'static str, &'static str)], expected: &[Mode]| {
            let asked = asked(pairs);
            let fitting: Vec<Mode> = Mode::ALL.into_iter().filter(|mode| mode.fits(&asked, &agent)).collect();
            assert_eq!(fitting, expected, "{pairs:?}");
        };
        const USER: &str = "impersonate-user";
        check(&[(USER, "alice")], &[UserInfo]);
        check(&[(USER, "alice"), ("impersonate-group", "dev"), ("impersonate-uid", "1")], &[UserInfo]);
        check(&[(USER, "system:node:n1")], &[AssociatedNode, ArbitraryNode]);
        check(&[(USER, "system:node:n2")], &[ArbitraryNode]);
        check(&[(USER, "system:node:n2"), ("impersonate-group", "dev")], &[]);
        check(&[(USER, "system:node:No")], &[UserInfo]);
        check(&[(USER, "system:serviceaccount:b:web")], &[ServiceAccount]);
        check(&[(USER, "system:serviceaccount:b:web"), ("impersonate-uid", "1")], &[]);
    }

    #[test]
    fn whom_one_becomes_and_what_it_takes() {
        let check = |mode: Mode, pairs: &[(&'static str, &'static str)], groups: &[&str], steps: &[&str]| {
            let asked = asked(pairs);
            let text = |n: &Needed| format!("{}/{}:{}/{}", n.resource, n.subresource, n.namespace, n.name);
            let taken = mode.steps(&asked);
            let told = taken.iter().map(|step| match step {
                Step::Needs(one) => text(one),
                Step::Either(all, each) => format!("{} or {}", text(all), each.len()),
                Step::Never(one, why) => format!("{}: {}", text(one), &why[..13]),
            });
            assert_eq!(told.collect::<Vec<_>>(), steps, "{pairs:?}");
            assert_eq!(mode.user(&asked).groups, groups, "{pairs:?}");
        };
        const USER: &str = "impersonate-user";
        const GROUP: &str = "impersonate-group";
        check(Mode::AssociatedNode, &[(USER, "system:node:n1")], &[NODES, AUTHENTICATED], &["nodes/:/*"]);
        check(Mode::ArbitraryNode, &[(USER, "system:node:n1")], &[NODES, AUTHENTICATED], &["nodes/:/n1"]);
        check(
            Mode::ServiceAccount,
            &[(USER, "system:serviceaccount:b:web")],
            &[SERVICE_ACCOUNTS, "system:serviceaccounts:b", AUTHENTICATED],
            &["serviceaccounts/:b/web"],
        );
        check(
            Mode::UserInfo,
            &[(USER, "alice"), (GROUP, "dev"), ("impersonate-uid", "1"), ("impersonate-extra-acme.com%2Fscope", "x")],
            &["dev", AUTHENTICATED],
            &["users/:/alice", "uids/:/1", "groups/:/dev", "userextras/acme.com/scope:/x"],
        );
        check(
            Mode::UserInfo,
            &[(USER, "alice"), (GROUP, "a"), (GROUP, "b"), (GROUP, "c"), (GROUP, UNAUTHENTICATED)],
            &["a", "b", "c", UNAUTHENTICATED],
            &["users/:/alice", "groups/:/* or 4"],
        );
        check(
            Mode::UserInfo,
            &[(USER, "alice"), (GROUP, MASTERS), ("impersonate-extra-scope", "x")],
            &[MASTERS, AUTHENTICATED],
            &[
                "users/:/alice",
                "groups/:/system:masters: impersonating",
                "groups/:/system:masters",
                "userextras/:/: impersonating",
                "userextras/scope:/x",
            ],
        );
    }
}

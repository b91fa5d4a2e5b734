//! Role-based access control: rules, the index over roles and bindings, bootstrap objects, aggregation, escalation.

pub(crate) mod aggregate;
pub(crate) mod authorizer;
pub(crate) mod bootstrap;
pub(crate) mod escalation;
pub(crate) mod index;
pub(crate) mod live;
pub(crate) mod node;
pub(crate) mod references;
pub(crate) mod rule;

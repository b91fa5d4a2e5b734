//! An operator on kube-rs against the control plane in process: a kind of its own in two versions, webhooks, finalizers,
//! children, two instances of which one leads. It is written as operators are, and knows nothing of Gantry.

mod election;
mod hooks;
mod journal;
mod life;
mod mirror;
mod program;
mod python;
mod refusals;
mod schema;
mod site;
mod takeover;
mod world;

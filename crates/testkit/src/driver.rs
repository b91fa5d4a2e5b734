//! Random actions from a seed, and the hands that carry them out.
//!
//! The sequence of actions is a pure function of the seed. What the daemons make of it depends on timing as well: a seed
//! replays the actions, not every interleaving.

mod act;
mod plan;
mod settle;

pub use act::Driver;
pub use plan::{Action, App, Strategy, plan};

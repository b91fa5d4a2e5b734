//! Workers on the in-memory runtime, with paused time: whole lives of pods in milliseconds.

mod docker;
mod lives;
mod rig;

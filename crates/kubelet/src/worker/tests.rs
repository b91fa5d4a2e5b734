//! Workers on the in-memory runtime, with paused time: whole lives of pods in milliseconds. And on a real Docker.

mod debug;
mod docker;
mod lives;
mod machine;
mod resizes;
mod rig;
mod sessions;
mod streams;

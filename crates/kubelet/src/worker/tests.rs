//! Workers on the fake runtime.

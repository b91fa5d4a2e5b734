//! The targets. A new one is a file here with a `pub(crate) fn run(data: &[u8])`, and one line in this list.

macro_rules! targets {
    ($($name:ident),* $(,)?) => {
        $(mod $name;)*
        /// Names and functions.
        pub(crate) const ALL: &[(&str, fn(&[u8]))] = &[$((stringify!($name), $name::run)),*];
    };
}

targets! {
    planted_fault,
    cel_expressions,
    spdy_frames,
    spdy_headers,
    spdy_connection,
    spdy_session,
    websocket_messages,
    websocket_connection,
    json_body,
    yaml_body,
    protobuf_body,
    patches,
    selectors,
    scalars,
    rest_paths,
}

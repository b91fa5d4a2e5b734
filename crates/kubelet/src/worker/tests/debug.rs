//! Ephemeral containers and pods that debug a node, on a real Docker.

//! Several API servers: any of them serves any session.

//! Ports for servers that are about to start.

use std::net::TcpListener;

/// A port of this machine that nothing listens on now. Not one that the system chooses, as it would give it to the next
/// that asks for any port, before the server has bound it: so below the range that it chooses from.
pub fn free_port() -> u16 {
    loop {
        let port = 20_000 + rand::random::<u16>() % 10_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

//! What the integration tests share with bench, certificate and demo: each thing that two of them need is here, once.
//!
//! `proxy`: the wire to what is started · `raw`: messages of no client · `ports`: where there is room

#![allow(clippy::disallowed_methods, reason = "it has no part in the program's time")]

pub mod proxy;
pub mod raw;

mod ports;

pub use self::ports::free_port;
pub use self::proxy::Proxy;

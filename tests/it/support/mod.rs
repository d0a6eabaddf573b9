//! What tests share: databases of their own.

pub(crate) mod databases;

//! The commands as an operator meets them: exit code, stdout, stderr, and what they leave behind.

mod configuration;
mod dead_letters;
mod explain;
mod init;
mod links;
mod migrate;
mod publish;
mod reconcile;
mod restore_trigger;
mod sync;
mod table;

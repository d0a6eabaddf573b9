//! The tables as SeaORM entities: our own four, and the three columns of the LMS's that the program may see.

pub mod block;
pub mod lease;
pub mod ledger;
pub mod overview;
pub mod pass;

//! The tables as SeaORM entities: our own five, and the three columns of the LMS's that the program may see.

pub mod blank;
pub mod block;
pub mod lease;
pub mod ledger;
pub mod overview;
pub mod pass;

//! The tables as SeaORM entities: our own seven, and the three columns of the LMS's that the program may see.

pub mod blank;
pub mod dead_letter;
pub mod failure;
pub mod hint;
pub mod lease;
pub mod ledger;
pub mod overview;
pub mod pass;

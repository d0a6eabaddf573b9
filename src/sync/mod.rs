//! The engine that events, commands and the pass share: restore, look up, plan, apply.

mod engine;
mod outcome;
mod plan;

pub use self::engine::{ASKED_AGAIN, Answered, BEFORE_ASKING_AGAIN, Engine};
pub use self::outcome::Outcome;
pub use self::plan::{Change, Plan, Question, plan};

//! The exit codes of all commands.

use std::process::ExitCode;

use crate::store::Verdict;

/// How a command ended; the number is the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Exit {
    /// Done.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// Done but incomplete: part of the Catalog could not be read.
    Incomplete = 3,
    /// Refused by the mass-change brake.
    Refused = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// How the command `reconcile` ends, by the verdict of its pass.
impl From<Verdict> for Exit {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Complete => Self::Done,
            Verdict::Running | Verdict::Failed => Self::Failed,
            Verdict::Incomplete => Self::Incomplete,
            Verdict::Refused => Self::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_is_the_exit_code() {
        for (verdict, code) in [
            (Verdict::Complete, 0),
            (Verdict::Failed, 1),
            (Verdict::Running, 1),
            (Verdict::Incomplete, 3),
            (Verdict::Refused, 4),
        ] {
            assert_eq!(Exit::from(verdict) as u8, code);
        }
    }
}

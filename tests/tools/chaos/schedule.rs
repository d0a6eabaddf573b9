//! What the LMS, Studio and the Catalog's editors will do: decided beforehand, by the seed alone. Pure.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

/// What the LMS does to the row just before the event about it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Lms {
    /// Nothing that harms the link.
    Leave,
    /// Saves the row without its URL.
    Blank,
    /// Deletes the row and makes it anew.
    Recreate,
}

/// How the event is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    /// The native form with everything in it.
    Full,
    /// With nothing but the course.
    Bare,
    /// A structured CloudEvent.
    CloudEvent,
}

/// A message that can never be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Bad {
    BrokenJson,
    WrongTypes,
    TooLarge,
    UnknownType,
    InvalidUtf8,
    NoBody,
}

impl Bad {
    /// In words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::BrokenJson => "broken JSON",
            Self::WrongTypes => "wrong types",
            Self::TooLarge => "64 KiB and more",
            Self::UnknownType => "unknown type",
            Self::InvalidUtf8 => "invalid UTF-8",
            Self::NoBody => "no body",
        }
    }

    const ALL: [Self; 6] = [
        Self::BrokenJson,
        Self::WrongTypes,
        Self::TooLarge,
        Self::UnknownType,
        Self::InvalidUtf8,
        Self::NoBody,
    ];
}

/// One event, and what led to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Step {
    /// Whose.
    pub(crate) run: usize,
    /// Whether the Catalog's editor gives the run a new URL first.
    pub(crate) edit: bool,
    /// What the LMS does first.
    pub(crate) lms: Lms,
    /// How it is written.
    pub(crate) form: Form,
    /// Milliseconds after the event at which the LMS saves the row as it read it before.
    pub(crate) stale_save: Option<u64>,
    /// Poison that is sent after it.
    pub(crate) poison: Option<Bad>,
}

/// How often things happen, each from 0 to 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mix {
    /// A new URL in the Catalog.
    pub(crate) edits: f64,
    /// A wiped row.
    pub(crate) wipes: f64,
    /// A stale copy saved afterwards.
    pub(crate) stale_saves: f64,
    /// Poison.
    pub(crate) poison: f64,
}

impl Default for Mix {
    fn default() -> Self {
        Self { edits: 0.4, wipes: 0.3, stale_saves: 0.0, poison: 0.0 }
    }
}

/// Everything that is left to chance, from one seed; a scenario's own, so that scenarios can be run alone.
pub(crate) struct Chance(StdRng);

impl Chance {
    /// By seed and name.
    pub(crate) fn new(seed: u64, scenario: &str) -> Self {
        // FNV-1a: the standard library's hasher promises no stable values.
        let name = fnv(scenario.bytes());
        Self(StdRng::seed_from_u64(seed ^ name))
    }

    /// The steps of so many events over so many runs.
    pub(crate) fn steps(&mut self, events: usize, runs: usize, mix: Mix) -> Vec<Step> {
        (0..events).map(|_| self.step(runs, mix)).collect()
    }

    fn step(&mut self, runs: usize, mix: Mix) -> Step {
        let rng = &mut self.0;
        let wiped = rng.random_bool(mix.wipes);
        Step {
            run: rng.random_range(0..runs),
            edit: rng.random_bool(mix.edits),
            lms: match (wiped, rng.random_bool(0.5)) {
                (false, _) => Lms::Leave,
                (true, false) => Lms::Blank,
                (true, true) => Lms::Recreate,
            },
            form: [Form::Full, Form::Bare, Form::CloudEvent][rng.random_range(0..3)],
            stale_save: rng.random_bool(mix.stale_saves).then(|| rng.random_range(0..3_000)),
            poison: rng.random_bool(mix.poison).then(|| Bad::ALL[rng.random_range(0..Bad::ALL.len())]),
        }
    }

    /// So many moments, as numbers of events sent by then: random, and apart, so that each hits under load.
    pub(crate) fn moments(&mut self, count: usize, events: usize) -> Vec<usize> {
        (0..count)
            .map(|slot| {
                let (from, to) = (events * slot / count, events * (slot + 1) / count);
                self.0.random_range(from..to.max(from + 1))
            })
            .collect()
    }

    /// A number in a range.
    pub(crate) fn between(&mut self, from: u64, to: u64) -> u64 {
        self.0.random_range(from..=to)
    }

    /// The index of one of so many.
    pub(crate) fn index(&mut self, of: usize) -> usize {
        self.0.random_range(0..of)
    }

    /// `count` values, each of these equally often, in random order.
    pub(crate) fn deal<T: Copy>(&mut self, of: &[T], count: usize) -> Vec<T> {
        let mut dealt: Vec<T> = of.iter().copied().cycle().take(count).collect();
        dealt.shuffle(&mut self.0);
        dealt
    }
}

/// A short name for a schedule, by which two runs of one seed can be compared.
pub(crate) fn digest(steps: &[Step]) -> String {
    format!("{:08x}", fnv(format!("{steps:?}").bytes()) as u32)
}

fn fnv(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_schedule_and_another_seed_another() {
        let steps = |seed| {
            let mut chance = Chance::new(seed, "kill9");
            (digest(&chance.steps(500, 50, Mix { poison: 0.1, ..Mix::default() })), chance.moments(5, 500))
        };
        assert_eq!(steps(1), steps(1));
        assert_ne!(steps(1), steps(2));
    }

    #[test]
    fn moments_are_apart_and_within_the_events() {
        let moments = Chance::new(7, "x").moments(50, 10_000);
        assert!(moments.iter().enumerate().all(|(slot, at)| (slot * 200..(slot + 1) * 200).contains(at)));
    }

    #[test]
    fn what_is_dealt_is_dealt_evenly() {
        let dealt = Chance::new(7, "x").deal(&['a', 'b'], 5);
        assert_eq!(dealt.iter().filter(|dealt| **dealt == 'a').count(), 3);
    }
}

//! When a pass is due: a new one by the schedule, and before that the rest of one that broke off. Pure: it is given the
//! time.

use chrono::{DateTime, TimeDelta, Utc};
use croner::Cron;

/// Before the rest of a pass is tried again: this, doubled each time, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: TimeDelta = TimeDelta::minutes(1);
const LONGEST_PAUSE: TimeDelta = TimeDelta::minutes(10);

/// What is due, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// A pass by the schedule.
    New(DateTime<Utc>),
    /// The rest of a pass, if one broke off.
    Rest(DateTime<Utc>),
}

/// The schedule, and when to look for the rest of a pass.
#[derive(Debug)]
pub(super) struct Timetable {
    cron: Cron,
    rest: Option<DateTime<Utc>>,
    tries: u32,
}

impl Timetable {
    /// For a worker that starts `now`: its predecessor may have left a pass, so that it looks at once.
    pub(super) fn new(cron: Cron, now: DateTime<Utc>) -> Self {
        Self { cron, rest: Some(now), tries: 0 }
    }

    /// What is due next. None: nothing, ever.
    pub(super) fn next(&self, now: DateTime<Utc>) -> Option<Due> {
        let new = self.cron.find_next_occurrence(&now, false).ok();
        match self.rest {
            Some(rest) if new.is_none_or(|new| rest < new) => Some(Due::Rest(rest)),
            _ => new.map(Due::New),
        }
    }

    /// How long after `due` the schedule has its next date.
    pub(super) fn apart(&self, due: DateTime<Utc>) -> TimeDelta {
        self.cron.find_next_occurrence(&due, false).map_or(TimeDelta::MAX, |after| after - due)
    }

    /// A pass came to its end, or there is no rest of one.
    pub(super) fn ended(&mut self) {
        (self.rest, self.tries) = (None, 0);
    }

    /// A pass broke off `now`, or another has it, which may break off.
    pub(super) fn broke_off(&mut self, now: DateTime<Utc>) {
        let pause = FIRST_PAUSE * (1 << self.tries.min(10));
        self.rest = Some(now + pause.min(LONGEST_PAUSE));
        self.tries += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NIGHTLY: &str = "0 30 3 * * *";

    fn at(text: &str) -> DateTime<Utc> {
        format!("2026-11-{text}Z").parse().unwrap()
    }

    fn timetable(now: &str) -> Timetable {
        let parser = croner::parser::CronParser::builder().seconds(croner::parser::Seconds::Required).build();
        Timetable::new(parser.parse(NIGHTLY).unwrap(), at(now))
    }

    #[test]
    fn a_worker_looks_at_once_for_what_was_left_and_then_keeps_to_the_schedule() {
        let mut timetable = timetable("24T03:31:00");
        assert_eq!(timetable.next(at("24T03:31:01")), Some(Due::Rest(at("24T03:31:00"))));
        timetable.ended();
        assert_eq!(timetable.next(at("24T03:31:02")), Some(Due::New(at("25T03:30:00"))));
        assert_eq!(timetable.apart(at("25T03:30:00")), TimeDelta::days(1));
    }

    #[test]
    fn what_broke_off_is_tried_again_after_pauses_that_grow_until_it_ends() {
        let mut timetable = timetable("24T03:00:00");
        timetable.ended();
        assert_eq!(timetable.next(at("24T03:00:00")), Some(Due::New(at("24T03:30:00"))));
        let mut now = at("24T03:31:00");
        for minutes in [1, 2, 4, 8, 10, 10] {
            timetable.broke_off(now);
            let due = now + TimeDelta::minutes(minutes);
            assert_eq!(timetable.next(now), Some(Due::Rest(due)));
            now = due;
        }
        timetable.ended();
        timetable.broke_off(now);
        assert_eq!(timetable.next(now), Some(Due::Rest(now + TimeDelta::minutes(1))), "another pass");
    }

    #[test]
    fn the_schedule_goes_before_a_rest() {
        let mut timetable = timetable("24T03:00:00");
        timetable.broke_off(at("24T03:29:30"));
        assert_eq!(timetable.next(at("24T03:29:31")), Some(Due::New(at("24T03:30:00"))));
    }

    #[test]
    fn nothing_overflows_where_a_database_is_out_for_long() {
        let mut timetable = timetable("24T03:00:00");
        (0..1000).for_each(|_| timetable.broke_off(at("24T03:00:00")));
        assert_eq!(timetable.next(at("24T03:00:00")), Some(Due::Rest(at("24T03:10:00"))));
    }
}

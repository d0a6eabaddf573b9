//! What a failure means: for the Catalog as a whole (the gate), and for the question at hand (ask again, when,
//! or give up). Pure.

use std::time::{Duration, Instant};

use super::door::OUTAGE;
use super::error::{CatalogError, Defect};
use super::gate::Verdict;
use super::retry::Retries;

/// What is asked. It decides what a failure may be blamed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Several runs by key.
    Batch,
    /// One run by key.
    One,
    /// Part of a batch that failed.
    Part,
    /// A stretch of the whole list.
    Page,
    /// Just whether it works: one attempt.
    Probe,
}

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask again at once.
    Now,
    /// Get a new token, then ask again at once.
    Renew,
    /// Worth asking again, after this pause; none if the time for it is up.
    Later(Option<Duration>),
    /// Ask again when the throttle allows, if that is soon.
    Unthrottled,
    /// There is no token: none will be asked for until then, or the time for it is up.
    Tokenless(Option<Instant>),
    /// Report the failure.
    GiveUp,
}

/// The attempts at one question.
#[derive(Debug)]
pub(super) struct Course {
    kind: Kind,
    retries: Retries,
    reconnected: bool,
    renewed: bool,
    blamed: bool,
    plain_500s: u32,
    restarts: u32,
    refusals: u32,
    tokenless_since: Option<Instant>,
}

impl Course {
    /// Before the first attempt.
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            retries: Retries::new(),
            reconnected: false,
            renewed: false,
            blamed: false,
            plain_500s: 0,
            restarts: 0,
            refusals: 0,
            tokenless_since: None,
        }
    }

    /// The time limit of the next attempt.
    pub(super) fn limit(&self, timeout: Duration) -> Duration {
        self.retries.limit(timeout)
    }

    /// Whether a wait of this length fits into the time that is left; it is taken if so.
    pub(super) fn can_wait(&mut self, pause: Duration) -> bool {
        self.retries.take(pause).is_some()
    }

    /// The wait at the gate takes the place of a pause: the time counts anew. False if that happens without end,
    /// which takes a Catalog that works for others and never for this question.
    pub(super) fn waits_at_the_gate(&mut self) -> bool {
        const RESTARTS: u32 = 20;
        self.retries = Retries::new();
        self.restarts += 1;
        self.restarts <= RESTARTS
    }

    /// Whether to go on waiting out the throttle. False if this question has been refused again and again, with no
    /// other answer: a Catalog that lets nothing through, and not one with an allowance to be shared by a few.
    pub(super) fn waits_unthrottled(&self) -> bool {
        const REFUSALS: u32 = 12;
        self.refusals < REFUSALS
    }

    /// Whether to wait for a token until then; the time counts anew after it. False if there would have been none for
    /// as long as makes an outage.
    pub(super) fn waits_for_a_token(&mut self, now: Instant, until: Instant) -> bool {
        let since = *self.tokenless_since.get_or_insert(now);
        self.retries = Retries::new();
        until.saturating_duration_since(since) < OUTAGE
    }

    /// What the failure of an attempt that took `elapsed` means.
    pub(super) fn after(&mut self, error: &CatalogError, elapsed: Duration) -> (Verdict, Next) {
        self.retries.spend(elapsed);
        let is_refusal = matches!(error, CatalogError::Status { code: 429, .. });
        self.refusals = if is_refusal { self.refusals + 1 } else { 0 };
        match error {
            CatalogError::Status { code: 429, retry_after, .. } => {
                (Verdict::Throttled(*retry_after), Next::Unthrottled)
            }
            CatalogError::Status { code: 401, .. } if !self.renewed => {
                self.renewed = true;
                (Verdict::Nothing, Next::Renew)
            }
            // A server may close an idle connection in the very moment in which it is used again.
            CatalogError::Unreachable { closed: true, .. }
                if !self.reconnected && self.kind != Kind::Probe =>
            {
                self.reconnected = true;
                (Verdict::Nothing, Next::Now)
            }
            CatalogError::Token { transient, until, .. } => {
                let next = match (until, transient) {
                    (None, false) => Next::GiveUp,
                    (None, true) => match self.pause(None) {
                        Next::Later(None) => Next::Tokenless(None),
                        next => next,
                    },
                    (until, _) => Next::Tokenless(*until),
                };
                (Verdict::Unsent, next)
            }
            _ => (self.verdict(error), self.next(error)),
        }
    }

    /// What may lie in the question does not count against the Catalog: one broken row makes a 500 of its page,
    /// a long URL is refused, a large page is slow. Where it may be either, it counts once a question. A connection
    /// closed without an answer counts each time: a URL that is too long for a server fits when halved once or twice,
    /// which is no row of failures, and a proxy without a Catalog behind it must not be asked for every half.
    fn verdict(&mut self, error: &CatalogError) -> Verdict {
        let neutral = match error {
            CatalogError::Status { code: 500, .. } => {
                matches!(self.kind, Kind::Page | Kind::Part) || self.blamed
            }
            CatalogError::Timeout(_) => self.kind == Kind::Page && self.blamed,
            CatalogError::Status { code: 400 | 414, .. } => true,
            CatalogError::Unreadable(Defect::TooLarge(_)) => true,
            _ => false,
        };
        if neutral {
            return Verdict::Nothing;
        }
        self.blamed = true;
        Verdict::Bad(error.to_string())
    }

    fn next(&mut self, error: &CatalogError) -> Next {
        match error {
            CatalogError::Unreachable { closed: true, .. }
                if matches!(self.kind, Kind::Batch | Kind::Part) =>
            {
                Next::GiveUp
            }
            CatalogError::Unreachable { .. } | CatalogError::Timeout(_) => self.pause(None),
            CatalogError::Status { code: 500, retry_after, .. } => {
                self.plain_500s += 1;
                // A broken row stays broken; it is the halves of the batch or page that are asked next.
                let patience = match self.kind {
                    Kind::Batch | Kind::One => 2,
                    Kind::Page => 1,
                    Kind::Part | Kind::Probe => 0,
                };
                if self.plain_500s > patience { Next::GiveUp } else { self.pause(*retry_after) }
            }
            CatalogError::Status { code: 501.., retry_after, .. } => self.pause(*retry_after),
            CatalogError::Unreadable(Defect::TooLarge(_)) => Next::GiveUp,
            CatalogError::Unreadable(_) => self.pause(None),
            _ => Next::GiveUp,
        }
    }

    fn pause(&mut self, at_least: Option<Duration>) -> Next {
        if self.kind == Kind::Probe {
            return Next::GiveUp;
        }
        Next::Later(self.retries.pause(at_least))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(5);

    fn status(code: u16) -> CatalogError {
        CatalogError::Status { code, told: String::new(), retry_after: None }
    }

    fn closed() -> CatalogError {
        CatalogError::Unreachable { what: "closed", closed: true, source: None }
    }

    fn nexts(kind: Kind, error: &CatalogError, times: usize) -> Vec<&'static str> {
        let mut course = Course::new(kind);
        let mut step = || match course.after(error, SOON).1 {
            Next::Now => "now",
            Next::Renew => "renew",
            Next::Later(_) => "after",
            Next::Unthrottled => "unthrottled",
            Next::Tokenless(_) => "tokenless",
            Next::GiveUp => "give up",
        };
        (0..times).map(|_| step()).collect()
    }

    #[test]
    fn what_cannot_get_better_is_not_asked_again() {
        for code in [301, 302, 400, 403, 404, 414] {
            assert_eq!(nexts(Kind::One, &status(code), 1), ["give up"], "{code}");
        }
        assert_eq!(nexts(Kind::Page, &CatalogError::Unreadable(Defect::TooLarge(1)), 1), ["give up"]);
    }

    #[test]
    fn what_may_get_better_is() {
        assert_eq!(nexts(Kind::One, &status(401), 2), ["renew", "give up"]);
        assert_eq!(nexts(Kind::One, &status(503), 1), ["after"]);
        assert_eq!(nexts(Kind::One, &closed(), 2), ["now", "after"]);
        assert_eq!(nexts(Kind::Batch, &closed(), 2), ["now", "give up"], "the batch is halved instead");
        assert_eq!(nexts(Kind::Batch, &status(500), 3), ["after", "after", "give up"]);
        assert_eq!(nexts(Kind::Page, &status(500), 2), ["after", "give up"]);
        assert_eq!(nexts(Kind::Part, &status(500), 1), ["give up"]);
        assert_eq!(nexts(Kind::Page, &CatalogError::Unreadable(Defect::Cut), 1), ["after"]);
        assert_eq!(nexts(Kind::Probe, &status(503), 1), ["give up"]);
    }

    #[test]
    fn a_question_refused_again_and_again_is_given_up_and_one_that_gets_somewhere_is_not() {
        let mut course = Course::new(Kind::Page);
        for _ in 0..11 {
            assert_eq!(course.after(&status(429), SOON).1, Next::Unthrottled);
            assert!(course.waits_unthrottled(), "other questions may have been let through");
        }
        course.after(&status(503), SOON);
        for _ in 0..11 {
            course.after(&status(429), SOON);
            assert!(course.waits_unthrottled(), "not in a row");
        }
        course.after(&status(429), SOON);
        assert!(!course.waits_unthrottled());
    }

    #[test]
    fn a_token_is_waited_for_as_long_as_a_catalog_that_is_out() {
        let (mut course, begun) = (Course::new(Kind::Page), Instant::now());
        let failed = |transient, until| CatalogError::Token { why: "it is out".to_owned(), transient, until };
        assert_eq!(course.after(&failed(false, None), SOON).1, Next::GiveUp);
        let left_alone = failed(false, Some(begun));
        assert_eq!(course.after(&left_alone, SOON).1, Next::Tokenless(Some(begun)));
        assert!(matches!(course.after(&failed(true, None), SOON).1, Next::Later(Some(_))));
        assert_eq!(course.after(&failed(true, None), Duration::from_secs(30)).1, Next::Tokenless(None));
        let at = |seconds| begun + Duration::from_secs(seconds);
        assert!(course.waits_for_a_token(begun, at(100)) && course.waits_for_a_token(at(100), at(299)));
        assert!(!course.waits_for_a_token(at(299), at(300)));
        assert!(!Course::new(Kind::Page).waits_for_a_token(begun, at(3600)));
    }

    #[test]
    fn one_broken_row_does_not_speak_against_the_catalog() {
        let verdicts = |kind, error: &CatalogError| {
            let mut course = Course::new(kind);
            [course.after(error, SOON).0, course.after(error, SOON).0]
                .map(|verdict| matches!(verdict, Verdict::Bad(_)))
        };
        assert_eq!(verdicts(Kind::Page, &status(500)), [false, false]);
        assert_eq!(verdicts(Kind::Part, &status(500)), [false, false]);
        assert_eq!(verdicts(Kind::One, &status(500)), [true, false], "once a question");
        assert_eq!(verdicts(Kind::Page, &CatalogError::Timeout(SOON)), [true, false]);
        assert_eq!(verdicts(Kind::Page, &status(502)), [true, true]);
        assert_eq!(
            verdicts(Kind::Batch, &closed()),
            [false, true],
            "the first may have been an idle connection"
        );
        assert_eq!(verdicts(Kind::One, &closed()), [false, true]);
    }
}

//! What a failed attempt means: for the Catalog as a whole, and for the request (ask again, when, or give up). Pure.

use std::time::{Duration, Instant};

use super::backoff::Pauses;
use super::error::{CatalogError, Defect};
use super::rate_limiter::{Feedback, OUTAGE};

/// What is asked for. It decides what may have caused a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Several runs by key.
    Batch,
    /// One run by key.
    One,
    /// Part of a batch that failed.
    Part,
    /// A page of the whole list.
    Page,
    /// Whether the Catalog works: one attempt.
    Probe,
}

/// What to do after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask again at once.
    Now,
    /// Ask again at once, with a new token.
    Renew,
    /// Ask again after this pause; give up if there is none, as no time is left.
    After(Option<Duration>),
    /// Ask again when the throttle is over.
    AfterThrottle,
    /// Ask again when the token endpoint may be asked; now, if no time is given.
    AfterToken(Option<Instant>),
    /// Give up.
    GiveUp,
}

/// The attempts at one request.
#[derive(Debug)]
pub(super) struct Attempts {
    kind: Kind,
    pub(super) pauses: Pauses,
    reconnected: bool,
    renewed: bool,
    counted: bool,
    plain_500s: u32,
    restarts: u32,
    refusals: u32,
    tokenless_since: Option<Instant>,
}

impl Attempts {
    /// None yet.
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            pauses: Pauses::new(),
            reconnected: false,
            renewed: false,
            counted: false,
            plain_500s: 0,
            restarts: 0,
            refusals: 0,
            tokenless_since: None,
        }
    }

    /// Lets the rate limiter take the place of a pause, and restarts the time. False if that happens without end: then
    /// the Catalog works for other requests and never for this one.
    pub(super) fn restart(&mut self) -> bool {
        const RESTARTS: u32 = 20;
        self.pauses = Pauses::new();
        self.restarts += 1;
        self.restarts <= RESTARTS
    }

    /// Whether to wait for the end of the throttle once more. False if this request got nothing but 429 again and
    /// again: then the Catalog lets nothing through, and its allowance is not just shared with others.
    pub(super) fn may_be_throttled_again(&self) -> bool {
        const REFUSALS: u32 = 12;
        self.refusals < REFUSALS
    }

    /// Whether to wait for a token until then, after which the time restarts. False if that makes an outage.
    pub(super) fn waits_for_token(&mut self, now: Instant, until: Instant) -> bool {
        let since = *self.tokenless_since.get_or_insert(now);
        self.pauses = Pauses::new();
        until.saturating_duration_since(since) < OUTAGE
    }

    /// What the failure of an attempt that took `elapsed` means.
    pub(super) fn after(&mut self, error: &CatalogError, elapsed: Duration) -> (Feedback, Next) {
        self.pauses.spend(elapsed);
        let is_refusal = matches!(error, CatalogError::Status { code: 429, .. });
        self.refusals = if is_refusal { self.refusals + 1 } else { 0 };
        match error {
            CatalogError::Status { code: 429, retry_after, .. } => {
                (Feedback::Throttled(*retry_after), Next::AfterThrottle)
            }
            CatalogError::Status { code: 401, .. } if !self.renewed => {
                self.renewed = true;
                (Feedback::Neutral, Next::Renew)
            }
            // A server may close an idle connection at the moment in which it is used again.
            CatalogError::Unreachable { closed: true, .. }
                if !self.reconnected && self.kind != Kind::Probe =>
            {
                self.reconnected = true;
                (Feedback::Neutral, Next::Now)
            }
            _ => (self.feedback(error), self.next(error)),
        }
    }

    /// A failure that may lie in the request does not count against the Catalog: one broken row makes a 500 of its
    /// page, a long URL is refused, a large page is slow. Where it may be either, it counts once a request. A
    /// connection closed without an answer counts each time: a URL that is too long for a server fits after it was
    /// halved once or twice, and a proxy without a Catalog behind it must not be asked for every half.
    fn feedback(&mut self, error: &CatalogError) -> Feedback {
        let neutral = match error {
            CatalogError::Status { code: 500, .. } => {
                matches!(self.kind, Kind::Page | Kind::Part) || self.counted
            }
            CatalogError::Timeout(_) => self.kind == Kind::Page && self.counted,
            CatalogError::Status { code: 400 | 414, .. }
            | CatalogError::Unreadable(Defect::TooLarge(_))
            | CatalogError::Token { .. } => true,
            _ => false,
        };
        if neutral {
            return Feedback::Neutral;
        }
        self.counted = true;
        Feedback::Failing(error.to_string())
    }

    fn next(&mut self, error: &CatalogError) -> Next {
        match error {
            CatalogError::Token { until: Some(until), .. } => Next::AfterToken(Some(*until)),
            CatalogError::Token { transient: true, .. } => match self.pause(None) {
                Next::After(None) => Next::AfterToken(None),
                next => next,
            },
            CatalogError::Unreachable { closed: true, .. }
                if matches!(self.kind, Kind::Batch | Kind::Part) =>
            {
                Next::GiveUp
            }
            CatalogError::Unreachable { .. } | CatalogError::Timeout(_) => self.pause(None),
            CatalogError::Status { code: 500, retry_after, .. } => {
                self.plain_500s += 1;
                // A broken row stays broken: the halves of the batch or page are asked for next.
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
        Next::After(self.pauses.pause(at_least))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(5);

    fn status(code: u16) -> CatalogError {
        CatalogError::Status { code, said: String::new(), retry_after: None }
    }

    fn closed() -> CatalogError {
        CatalogError::Unreachable { closed: true, source: None }
    }

    fn nexts(kind: Kind, error: &CatalogError, times: usize) -> Vec<&'static str> {
        let mut attempts = Attempts::new(kind);
        let mut step = || match attempts.after(error, SOON).1 {
            Next::Now => "now",
            Next::Renew => "renew",
            Next::After(_) => "after",
            Next::AfterThrottle => "unthrottled",
            Next::AfterToken(_) => "tokenless",
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
    fn a_request_refused_again_and_again_is_given_up_unless_it_gets_somewhere() {
        let mut attempts = Attempts::new(Kind::Page);
        for _ in 0..11 {
            assert_eq!(attempts.after(&status(429), SOON).1, Next::AfterThrottle);
            assert!(attempts.may_be_throttled_again(), "other requests may have been let through");
        }
        attempts.after(&status(503), SOON);
        for _ in 0..11 {
            attempts.after(&status(429), SOON);
            assert!(attempts.may_be_throttled_again(), "not in a row");
        }
        attempts.after(&status(429), SOON);
        assert!(!attempts.may_be_throttled_again());
    }

    #[test]
    fn a_token_is_waited_for_as_long_as_a_catalog_that_is_out() {
        let (mut attempts, begun) = (Attempts::new(Kind::Page), Instant::now());
        let failed = |transient, until| CatalogError::Token { why: "it is out".to_owned(), transient, until };
        assert_eq!(attempts.after(&failed(false, None), SOON).1, Next::GiveUp);
        let left_alone = failed(false, Some(begun));
        assert_eq!(attempts.after(&left_alone, SOON).1, Next::AfterToken(Some(begun)));
        assert!(matches!(attempts.after(&failed(true, None), SOON).1, Next::After(Some(_))));
        assert_eq!(attempts.after(&failed(true, None), Duration::from_secs(30)).1, Next::AfterToken(None));
        let at = |seconds| begun + Duration::from_secs(seconds);
        assert!(attempts.waits_for_token(begun, at(100)) && attempts.waits_for_token(at(100), at(299)));
        assert!(!attempts.waits_for_token(at(299), at(300)));
        assert!(!Attempts::new(Kind::Page).waits_for_token(begun, at(3600)));
    }

    #[test]
    fn one_broken_row_does_not_count_against_the_catalog() {
        let failing = |kind, error: &CatalogError| {
            let mut attempts = Attempts::new(kind);
            [attempts.after(error, SOON).0, attempts.after(error, SOON).0]
                .map(|feedback| matches!(feedback, Feedback::Failing(_)))
        };
        assert_eq!(failing(Kind::Page, &status(500)), [false, false]);
        assert_eq!(failing(Kind::Part, &status(500)), [false, false]);
        assert_eq!(failing(Kind::One, &status(500)), [true, false], "once a request");
        assert_eq!(failing(Kind::Page, &CatalogError::Timeout(SOON)), [true, false]);
        assert_eq!(failing(Kind::Page, &status(502)), [true, true]);
        assert_eq!(
            failing(Kind::Batch, &closed()),
            [false, true],
            "the first may have been an idle connection"
        );
        assert_eq!(failing(Kind::One, &closed()), [false, true]);
    }
}

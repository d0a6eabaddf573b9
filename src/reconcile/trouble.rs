//! Whether a page that failed may do better in parts, or the whole Catalog is what fails.

use crate::catalog::{CatalogError, Defect};

/// True if a smaller page may succeed: one broken row makes its page a 500, and a page may be too slow or too large
/// for something on the way. False for what no page size changes: no connection, a shut gate, no right to read, a
/// wrong address, a login or maintenance page.
pub(super) fn is_of_the_page(error: &CatalogError) -> bool {
    match error {
        CatalogError::Status { code, .. } => *code >= 500,
        CatalogError::Unreachable { closed, .. } => *closed,
        CatalogError::Unreadable(Defect::Html(_)) => false,
        CatalogError::Timeout(_) | CatalogError::Unreadable(_) => true,
        CatalogError::Throttled { .. }
        | CatalogError::CircuitOpen { .. }
        | CatalogError::Unauthorised { .. }
        | CatalogError::Token { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn status(code: u16) -> CatalogError {
        CatalogError::Status { code, said: String::new(), retry_after: None }
    }

    fn unreachable(closed: bool) -> CatalogError {
        CatalogError::Unreachable { what: "no connection", closed, source: None }
    }

    #[test]
    fn a_page_is_split_where_a_smaller_one_may_do() {
        let of_the_page = [
            status(500),
            status(504),
            unreachable(true),
            CatalogError::Timeout(Duration::from_secs(20)),
            CatalogError::Unreadable(Defect::TooLarge(1)),
            CatalogError::Unreadable(Defect::Cut),
        ];
        assert!(of_the_page.iter().all(is_of_the_page));
        let until = Instant::now();
        let of_the_catalog = [
            status(404),
            status(403),
            unreachable(false),
            CatalogError::Unauthorised { token: true },
            CatalogError::Throttled { until },
            CatalogError::CircuitOpen { until, why: String::new() },
            CatalogError::Unreadable(Defect::Html("<title>Log in</title>".to_owned())),
        ];
        assert!(!of_the_catalog.iter().any(is_of_the_page));
    }
}

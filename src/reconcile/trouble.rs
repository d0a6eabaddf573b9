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
        | CatalogError::Shut { .. }
        | CatalogError::Unauthorised { .. }
        | CatalogError::Token { .. } => false,
    }
}

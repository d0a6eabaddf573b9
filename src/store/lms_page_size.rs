//! How many runs a page has by the LMS's own settings.

use sea_orm::sea_query::{Expr, ExprTrait, Order, Query};

use super::timeout::Limit::Batch;
use super::{Store, StoreError};

impl Store {
    /// The page size that the LMS's staff have set in Django admin; none if they have set nothing yet.
    ///
    /// # Errors
    /// Those of the database; a missing table `catalog_catalogintegration` is one.
    pub async fn lms_page_size(&self) -> Result<Option<i64>, StoreError> {
        // Django's configuration models add a row at each change; the newest one counts.
        let mut query = Query::select();
        query
            .expr(Expr::col("page_size").cast_as("char(20)"))
            .from("catalog_catalogintegration")
            .order_by("id", Order::Desc)
            .limit(1);
        let doing = "read page_size from catalog_catalogintegration";
        let sizes: Vec<String> = self.db.values(doing, Batch, &query).await?;
        Ok(sizes.first().and_then(|size| size.trim().parse().ok()))
    }
}

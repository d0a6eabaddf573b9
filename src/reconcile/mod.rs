//! (stub)
use crate::{config, sync::Engine};
use tokio_util::sync::CancellationToken;
pub struct Silent;
pub struct Options {
    pub page_size: config::PageSize,
    pub dry_run: bool,
    pub allow_mass_change: bool,
}
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    #[error("s")]
    Stopped,
    #[error("t")]
    Taken { by: String },
}
pub struct Pass;
impl Pass {
    pub fn new(_e: Engine, _s: &config::Reconcile, _y: &config::Sync) -> Self {
        Self
    }
    pub async fn run(&self, _o: Options, _p: &Silent, _s: CancellationToken) -> Result<(), PassError> {
        Ok(())
    }
}

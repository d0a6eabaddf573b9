//! (stub until merged)
use crate::course_key::{CourseKey, CourseKeyError, RunKey};
use crate::marketing_url::{MarketingUrl, UrlPolicy};
use std::collections::HashMap;
use std::time::{Duration, Instant};
#[derive(Clone, Debug)]
pub enum Observation {
    Url(MarketingUrl),
    NoUrl,
    NotListed,
    Unknown(Unknown),
}
#[derive(Clone, Debug)]
pub struct Unknown(pub String);
impl Unknown {
    pub fn unanswered() -> Self {
        Self(String::new())
    }
    pub fn reopens_at(&self) -> Option<Instant> {
        None
    }
}
impl std::fmt::Display for Unknown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Event,
    Pass,
    Command,
}
pub struct Page {
    pub count: u64,
    pub runs: Vec<ListedRun>,
    pub bytes: usize,
    pub elapsed: Duration,
}
pub struct ListedRun {
    pub key: Result<CourseKey, CourseKeyError>,
    pub observation: Observation,
}
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct CatalogError;
#[derive(Clone)]
pub struct Client;
impl Client {
    pub fn new(_s: &crate::config::Catalog, _p: UrlPolicy) -> Result<Self, CatalogError> {
        Ok(Self)
    }
    pub async fn look_up(&self, _k: &[RunKey], _p: Purpose) -> HashMap<RunKey, Observation> {
        HashMap::new()
    }
    pub async fn page(&self, _o: u64, _l: u32, _p: Purpose) -> Result<Page, CatalogError> {
        Err(CatalogError)
    }
    pub async fn probe(&self) -> Result<u64, CatalogError> {
        Err(CatalogError)
    }
    pub fn key_budget(&self) -> usize {
        1000
    }
    pub fn requests(&self) -> u64 {
        0
    }
}
pub fn key_cost(k: &RunKey) -> usize {
    k.as_str().len()
}

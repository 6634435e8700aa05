//! Lists come in pages.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Error;

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

/// Which part of a list.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// `next` of the page before.
    after: Option<String>,
    /// At most this many items, 1 to 1000, 100 when not given.
    limit: Option<usize>,
}

impl PageQuery {
    pub(crate) fn limit(&self) -> Result<usize, Error> {
        match self.limit {
            None => Ok(DEFAULT_LIMIT),
            Some(limit) if (1..=MAX_LIMIT).contains(&limit) => Ok(limit),
            Some(limit) => Err(Error::malformed(format!(
                "a page has 1 to {MAX_LIMIT} items, not {limit}"
            ))),
        }
    }

    /// Where the page before ended, as `parse` understands it.
    pub(crate) fn after<T>(
        &self,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let Some(text) = &self.after else {
            return Ok(None);
        };
        match parse(text) {
            Some(after) => Ok(Some(after)),
            None => Err(Error::malformed(
                "`after` is not the `next` of a page of this list",
            )),
        }
    }

    pub(crate) fn after_text(&self) -> Option<&str> {
        self.after.as_deref()
    }
}

/// A part of a list.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Hand it over as `after` for the next page; null when this is the last.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// A page of `limit` items from a list that was read one item further, where there is one.
    pub(crate) fn cut(mut items: Vec<T>, limit: usize, name: impl FnOnce(&T) -> String) -> Self {
        let is_more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| is_more).map(name);
        Self { items, next }
    }
}

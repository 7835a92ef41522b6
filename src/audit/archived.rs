//! What a log says of records that are no longer in it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Hash;

/// Records that are in a file of their own, as the log says it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Archived {
    pub from: u64,
    pub to: u64,
    /// Of the last of them.
    #[schemars(with = "String")]
    pub hash: Hash,
    /// Name of the Parquet file.
    pub file: String,
    pub sha256: String,
}

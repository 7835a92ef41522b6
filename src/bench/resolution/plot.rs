use std::path::Path;
use super::{BenchError, Run};
pub(super) fn draw(_: &[(&str, &Run)], _: &Path) -> Result<(), BenchError> { Ok(()) }
